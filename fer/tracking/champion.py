"""Decide which version of a registered model is `champion`, alike on every machine that registers at the same time.

A tracking server moves an alias without asking who else is about to. The decision therefore follows from the versions
alone: taken in the order of their numbers, each becomes champion if it beats the one that was champion before it.
Whoever looks last sees all versions and sets the alias right, whatever was set in between.

A person may also move the alias by hand, and that choice stands until a version beats it. Each version therefore notes
which champion stood before it, if nobody else was registering then; the decision starts from the latest such note.
"""

from collections.abc import Sequence
from math import inf, isnan

import mlflow
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from fer.tracking.names import PROTOCOL, SCORE, VALIDATION_DIGEST

CHAMPION = "champion"
"""The alias."""
COMPARABLE = (VALIDATION_DIGEST, PROTOCOL)
"""Tags of a version that must agree before two versions' scores may be compared."""
PROMOTED = "promoted"
"""Tag of a version that was to become champion whatever its score is."""
PREDECESSOR = "champion.predecessor"
"""Tag of a version: the last version and the champion before it, as `<number>:<number>`; 0 for none."""
VERDICT = "champion.verdict"
"""Tag of a version whose registration is complete: one sentence on the alias."""
ABANDONED_MS = 10 * 60 * 1000
"""Milliseconds after which a registration that is not complete no longer counts as under way."""
MAX_ROUNDS = 100
"""How often the alias is set before giving up."""
ABSENT = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")
"""MLflow's error codes where there is no such model or alias."""


def versions_of(name: str) -> list[ModelVersion]:
    """Return all versions of a registered model in the order of their numbers; none if there is no such model."""
    # MLflow's filters know no escapes, but two kinds of quotes.
    quote = '"' if "'" in name else "'"
    versions = mlflow.search_model_versions(filter_string=f"name={quote}{name}{quote}")
    return sorted(versions, key=number)


def standing_champion(name: str) -> ModelVersion | None:
    """Return the version that has the alias now, or None.

    Raises:
        MlflowException: The server fails; that is no reason to crown the next version.
    """
    try:
        return mlflow.MlflowClient().get_model_version_by_alias(name, CHAMPION)
    except MlflowException as error:
        if error.error_code not in ABSENT:
            raise
        return None


def number(version: ModelVersion) -> int:
    """Return a version's number, which servers give as text and databases as a number."""
    return int(version.version)


def predecessor_tag(name: str) -> dict[str, str]:
    """Return the tag that holds a new version's place in the order; no tag while others are registering."""
    # The versions are read before the alias: a version crowned in between is decided on again, which does no harm.
    versions = versions_of(name)
    standing = standing_champion(name)
    # What somebody else is about to crown is not known yet, so that the champion now means nothing.
    if any(_under_way(version, versions) for version in versions):
        return {}
    last = number(versions[-1]) if versions else 0
    champion = number(standing) if standing else 0
    return {PREDECESSOR: f"{last}:{champion}"}


def _under_way(version: ModelVersion, versions: Sequence[ModelVersion]) -> bool:
    """Return whether somebody may still be registering a version."""
    # One without a score was registered by hand; one with a verdict is complete.
    if SCORE not in version.tags or VERDICT in version.tags:
        return False
    # By the server's clock, not this machine's, which may be wrong.
    newest = max(other.creation_timestamp for other in versions)
    return bool(newest - version.creation_timestamp < ABANDONED_MS)


def rightful_champion(versions: Sequence[ModelVersion], below: float = inf) -> ModelVersion | None:
    """Return the version that is to have the alias.

    Args:
        versions: All versions of one model in the order of their numbers.
        below: Decide as if only the versions with smaller numbers were there.
    """
    # Start from the latest note of a champion that stood alone: a person may have set it.
    notes = [_predecessor(version) for version in versions]
    last, start = max((note for note in notes if note[0] < below), default=(0, 0))
    champion = next((version for version in versions if number(version) == start), None)
    for version in versions:
        is_candidate = last < number(version) < below and SCORE in version.tags
        if is_candidate and beats(version, champion):
            champion = version
    return champion


def _predecessor(version: ModelVersion) -> tuple[int, int]:
    """Return what a version noted of the last version and the champion before it; zeros where it noted nothing."""
    last, champion = version.tags.get(PREDECESSOR, "0:0").split(":")
    return int(last), int(champion)


def beats(version: ModelVersion, champion: ModelVersion | None) -> bool:
    """Return whether a version takes the alias from the one that has it."""
    if champion is None or PROMOTED in version.tags:
        return True
    return comparable(version, champion) and score(version) > score(champion)


def comparable(first: ModelVersion, second: ModelVersion) -> bool:
    """Return whether two versions were measured on the same validation images by the same protocol."""
    return all(first.tags.get(key) == second.tags.get(key) for key in COMPARABLE)


def score(version: ModelVersion) -> float:
    """Return a version's validation score; minus infinity where it is no number, which therefore never wins."""
    value = float(version.tags.get(SCORE, "nan"))
    return -inf if isnan(value) else value


def settle_alias(name: str) -> None:
    """Set the alias to the rightful champion, and look again until it stays there.

    Raises:
        MlflowException: The server fails, or others move the alias without end.
    """
    client = mlflow.MlflowClient()
    for _ in range(MAX_ROUNDS):
        rightful = rightful_champion(versions_of(name))
        standing = standing_champion(name)
        if rightful is None or (standing is not None and number(standing) == number(rightful)):
            return
        client.set_registered_model_alias(name, CHAMPION, str(number(rightful)))
    raise MlflowException(f"the alias {CHAMPION} of {name} is moved again and again by somebody else")


def verdict(registered: ModelVersion, versions: Sequence[ModelVersion]) -> str:
    """Return one sentence on what a new version's registration did to the alias.

    Args:
        registered: The version, one of `versions`.
        versions: All versions, in the order of their numbers.
    """
    champion = rightful_champion(versions) or registered
    before = rightful_champion(versions, below=number(registered))
    if number(champion) == number(registered):
        crowned = f"version {registered.version} is the champion"
        if before is None:
            return f"{crowned}: the first of {registered.name}"
        if PROMOTED in registered.tags:
            return f"{crowned} by promote=true"
        return f"{crowned}: {_scores(registered, before)}"
    stays = f"version {champion.version} stays champion"
    if comparable(registered, champion):
        return f"{stays}: {_scores(champion, registered)}"
    return (
        f"{stays}: it was chosen on other validation images or by another protocol, so the scores cannot be compared "
        "(promote=true overrides)"
    )


def _scores(better: ModelVersion, worse: ModelVersion) -> str:
    first, second = (version.tags.get(SCORE, "no score") for version in (better, worse))
    return f"{first} on validation against {second}"
