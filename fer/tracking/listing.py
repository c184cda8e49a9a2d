"""Which registered models there are, so that a person can choose among them."""

from dataclasses import dataclass

from fer.errors import FerError
from fer.tracking import store
from fer.tracking.champion import CHAMPION, versions_of

import mlflow  # isort: skip  # after `store`, which sets what MLflow reads at import
from mlflow.exceptions import MlflowException  # isort: skip


@dataclass(frozen=True)
class ListedModel:
    """A version of a registered model.

    Attributes:
        address: By which it is loaded: with its number, since aliases move.
        label: The same for a person, with the aliases it has now.
    """

    address: str
    label: str


def registered_models() -> list[ListedModel]:
    """Return every version of every registered model: by model, those with an alias first, `champion` before all.

    Raises:
        FerError: The store cannot be opened or reached.
    """
    address = store.connect()
    found: list[ListedModel] = []
    try:
        for model in mlflow.search_registered_models(order_by=["name"]):  # of all pages, unlike the client's
            named: dict[str, list[str]] = {}
            for alias, number in sorted(model.aliases.items(), key=lambda item: (item[0] != CHAMPION, item[0])):
                named.setdefault(str(number), []).append(alias)
            numbers = [str(version.version) for version in versions_of(model.name)]
            others = sorted(set(numbers) - set(named), key=int, reverse=True)
            found += [_aliased(model.name, number, aliases) for number, aliases in named.items()]
            found += [
                ListedModel(f"models:/{model.name}/{number}", f"{model.name}, version {number}") for number in others
            ]
    except MlflowException as error:
        raise FerError(f"the MLflow store {address} does not answer: {' '.join(str(error).split())[:200]}") from None
    return found


def _aliased(name: str, number: str, aliases: list[str]) -> ListedModel:
    return ListedModel(f"models:/{name}/{number}", f"{name}, {' and '.join(aliases)} (version {number})")
