"""Finding runs of the past, and reading what a comparison needs of them."""

import re
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import mlflow
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from fer.comparison.runs import Predictions, RunFigures, read_predictions
from fer.errors import ConfigError, DataError, quoted, unknown_name
from fer.evaluation.names import ACCURACY, TRAINING_LOSS, VALIDATION_ACCURACY, metric_key
from fer.portable.json_files import parse_json
from fer.tracking import names, store
from fer.tracking.names import CONFIG_FILE, REPORTED, STAGES_FILE, dataset_tags

TESTING = ("finetune", "evaluate")
"""Commands whose runs hold test figures."""
LISTED = 1000
"""Runs looked through for a name that was probably meant."""
Tested = tuple[Run, ...]
"""A run with test figures, and the later tests of its model that an experiment made."""


class Runs:
    """The runs of the store that have test figures.

    Attributes:
        address: The store's address.
        sets: Names of the data sets whose figures count.
    """

    def __init__(self, sets: Iterable[str]) -> None:
        self.address = store.connect()
        self.sets = list(sets)
        self._client = mlflow.MlflowClient()

    def named(self, word: str) -> list[Tested]:
        """Return the runs a word means: an id, the beginning of a single id, or a name, which several may share.

        A run of `experiment` stands for the trainings it made.

        Raises:
            ConfigError: The word means no run, or one without test figures, or is the beginning of several ids.
        """
        runs = self._by_word(word)
        if not runs:
            recent = self._search("", most=LISTED)
            if not recent:
                raise ConfigError(f"unknown run {quoted(word)}: the store {self.address} holds no run")
            known = {run.info.run_name for run in recent if self._tested(run) or _command(run) == "experiment"}
            raise ConfigError(unknown_name("run", word, known or {run.info.run_name for run in recent}))
        found = [tested for run in reversed(runs) for tested in self._expanded(run)]
        if not found:
            states = ", ".join(dict.fromkeys(run.info.status for run in runs))
            raise ConfigError(f"run {quoted(word)} has no test figures ({states}): name a run of finetune or evaluate")
        return found

    def of_experiment(self, word: str) -> list[Tested]:
        """Return the trainings of the latest run of `experiment` with this name, or of the one with this id.

        The name may also be that of an MLflow experiment, of which all runs with test figures are then meant.

        Raises:
            ConfigError: There is none, or none of its runs has test figures.
        """
        parents = [run for run in self._by_word(word) if _command(run) == "experiment"]
        place = None if parents else self._client.get_experiment_by_name(word)
        if not parents and place is None:
            known = {run.info.run_name for run in self._search(f"tags.`{names.COMMAND}` = 'experiment'", most=LISTED)}
            places = {item.name for item in self._client.search_experiments()}
            raise ConfigError(unknown_name("experiment", word, known | places))
        if place is not None:
            found = self._those_tested(self._search("", [place.experiment_id]))
        else:
            found = self._expanded(parents[0])
        if not found:
            raise ConfigError(f"experiment {quoted(word)} has no run with test figures")
        return found

    def matching(self, wanted: str) -> list[Tested]:
        """Return the runs with test figures that an MLflow search filter such as `params.lr = '0.001'` selects.

        Raises:
            ConfigError: It is no filter, or selects no such run.
        """
        try:
            found = self._those_tested(self._search(wanted))
        except MlflowException as error:
            reason = " ".join(str(error).split())[:200]
            raise ConfigError(f"filter {quoted(wanted)} is no MLflow search filter: {reason}") from None
        if not found:
            raise ConfigError(f"filter {quoted(wanted)} selects no run with test figures")
        return found

    def read(self, tested: Tested) -> RunFigures:
        """Return what a comparison needs of a run, with the later tests of its model taken for its own."""
        run = tested[0]
        tags = run.data.tags
        tested_digests: dict[str, str] = {}
        contamination: dict[str, str] = {}
        predictions: dict[str, Predictions] = {}
        for one in tested:
            predictions |= self._predictions(one)
            tested_digests |= dataset_tags(one.data.tags, names.TESTED_DIGEST)
            contamination |= dataset_tags(one.data.tags, names.CONTAMINATION)
        curves = [key for key in (TRAINING_LOSS, VALIDATION_ACCURACY) if key in run.data.metrics]
        return RunFigures(
            id=run.info.run_id,
            name=run.info.run_name,
            config=self._config(run),
            configuration=tags.get(names.CONFIGURATION, ""),
            experiment=tags.get(names.EXPERIMENT, ""),
            reproduces=tags.get(names.REPRODUCES, ""),
            reported=REPORTED in tags,
            training_digests=dataset_tags(tags, names.DIGEST),
            tested_digests=tested_digests,
            contamination=contamination,
            metrics={key: value for one in tested for key, value in one.data.metrics.items()},
            predictions=predictions,
            minutes=run.data.metrics.get("minutes") if REPORTED in run.data.tags else _minutes(run),
            curves={key: self._curve(run.info.run_id, key) for key in curves},
        )

    def page(self, tested: Sequence[Tested]) -> str:
        """Return the address of MLflow's page that shows the runs beside each other; empty if they lie apart."""
        places = {run.info.experiment_id for run, *_ in tested}
        ids = [run.info.run_id for run, *_ in tested]
        return store.comparison(self.address, places.pop(), ids) if len(places) == 1 else ""

    def _by_word(self, word: str) -> list[Run]:
        if re.fullmatch(r"[0-9a-f]{4,32}", word):
            found = self._search(f"attributes.run_id LIKE '{word}%'")
            if len(found) > 1:
                ids = ", ".join(run.info.run_id[: len(word) + 4] for run in found[:6])
                raise ConfigError(f"run {quoted(word)} is the beginning of {len(found)} ids ({ids}): write more of it")
            if found:
                return found
        quote = '"' if "'" in word else "'"
        return [] if quote in word else self._search(f"attributes.run_name = {quote}{word}{quote}")

    def _search(self, wanted: str, places: Sequence[str] = (), most: int = 0) -> list[Run]:
        """Return runs, the latest first: all that fit, or about the `most` latest."""
        among = list(places) or [item.experiment_id for item in self._client.search_experiments()]
        found: list[Run] = []
        token: str | None = None
        while True:
            page = self._client.search_runs(
                among, wanted, max_results=LISTED, order_by=["attributes.start_time DESC"], page_token=token
            )
            found += page
            token = page.token
            if not token or (most and len(found) >= most):
                return found

    def _those_tested(self, runs: Sequence[Run]) -> list[Tested]:
        """Return the runs with test figures, the earliest first."""
        return [(run,) for run in reversed(runs) if self._tested(run)]

    def _tested(self, run: Run) -> bool:
        figures = any(metric_key(name, ACCURACY) in run.data.metrics for name in self.sets)
        return figures and (_command(run) in TESTING or REPORTED in run.data.tags)

    def _expanded(self, run: Run) -> list[Tested]:
        """Return a run, or the trainings of a run of `experiment`, each with the tests made after it."""
        if _command(run) != "experiment":
            return [(run,)] if self._tested(run) else []
        stages = self._stages(run)
        if stages is None:
            # A run of all experiments has a run of each below it; a stopped one its trainings.
            below = self._search(f"tags.`mlflow.parentRunId` = '{run.info.run_id}'")[::-1]
            return [tested for child in below for tested in self._expanded(child)]
        done = [self._client.get_run(run_id) for run_id in stages]
        trained = [one for one in done if _command(one) == "finetune"]
        tests = [one for one in done if _command(one) == "evaluate"]
        groups = [
            (
                one,
                *(test for test in tests if test.data.params.get("model", "").strip("'") == f"runs:/{one.info.run_id}"),
            )
            for one in trained
        ]
        return [group for group in groups if any(self._tested(one) for one in group)]

    def _artifact(self, run: Run, path: str) -> str | None:
        try:
            with tempfile.TemporaryDirectory() as folder:
                place = mlflow.artifacts.download_artifacts(
                    run_id=run.info.run_id, artifact_path=path, dst_path=folder, tracking_uri=self.address
                )
                return Path(place).read_text(encoding="utf-8")
        except (MlflowException, OSError):
            return None  # a run that never got so far, or one whose files were removed
        except UnicodeDecodeError:
            raise _damaged(run, path, "it is no UTF-8 text") from None

    def _config(self, run: Run) -> dict[str, Any]:
        content = self._json(run, CONFIG_FILE)
        if not isinstance(content, dict | None):
            raise _damaged(run, CONFIG_FILE, f"it holds {type(content).__name__}")
        return content or {}

    def _stages(self, run: Run) -> list[str] | None:
        """Return the ids of an experiment's stages; None where it never got so far as to note them."""
        stages = self._json(run, STAGES_FILE)
        try:
            return None if stages is None else [str(stage["run_id"]) for stage in stages]
        except (KeyError, TypeError):
            raise _damaged(run, STAGES_FILE, "it is no list of runs") from None

    def _json(self, run: Run, path: str) -> Any:
        text = self._artifact(run, path)
        try:
            return None if text is None else parse_json(text)
        except ValueError as error:
            raise _damaged(run, path, str(error)) from None

    def _predictions(self, run: Run) -> dict[str, Predictions]:
        predictions = {}
        for name in self.sets:
            if metric_key(name, ACCURACY) in run.data.metrics and REPORTED not in run.data.tags:
                path = names.evaluation_path(name, names.PREDICTIONS_FILE)
                text = self._artifact(run, path)
                if text is not None:
                    predictions[name] = read_predictions(text, f"{path} of run {run.info.run_id}")
        return predictions

    def _curve(self, run_id: str, key: str) -> tuple[tuple[int, float], ...]:
        points = {point.step: point.value for point in self._client.get_metric_history(run_id, key)}
        return tuple(sorted(points.items()))


def _damaged(run: Run, path: str, why: str) -> DataError:
    return DataError(f"{path} of run {run.info.run_id} is damaged: {why}")


def _command(run: Run) -> str:
    return str(run.data.tags.get(names.COMMAND, ""))


def _minutes(run: Run) -> float | None:
    # A continued run's clock shows its last part only.
    if _command(run) != "finetune" or run.info.end_time is None or names.RESUMED_FROM in run.data.tags:
        return None
    return float(run.info.end_time - run.info.start_time) / 60_000


CONTEXTS = {names.TRAINING: 0, names.PRETRAINING: 1}
"""What inputs are logged as, and which part of the answer they belong to."""


def images_of_run(run_id: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return `<set>/<digest>` of the training splits a run and the runs it started from saw with labels, and without.

    Args:
        run_id: A run of `finetune` or `pretrain`; one that is gone saw nothing that is known.
    """
    store.connect()
    client, past = mlflow.MlflowClient(), set[str]()
    seen: tuple[dict[str, None], dict[str, None]] = ({}, {})
    while run_id and run_id not in past:
        past.add(run_id)
        try:
            run = client.get_run(run_id)
        except MlflowException:
            break
        for item in run.inputs.dataset_inputs if run.inputs else ():
            context = next((tag.value for tag in item.tags if tag.key == "mlflow.data.context"), "")
            if context in CONTEXTS:
                seen[CONTEXTS[context]][f"{item.dataset.name}/{item.dataset.digest}"] = None
        run_id = run.data.tags.get(names.STARTED_FROM, "")
    return tuple(seen[0]), tuple(seen[1])
