"""Turn manifests into MLflow's descriptions of data sets."""

import warnings
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from fer.data.manifest import ImageRow, Manifest


@dataclass(frozen=True)
class LoggedDataset:
    """A data set as an input of a run, by which metrics are tied to it.

    Attributes:
        name: Its name.
        digest: Its digest as MLflow keeps it.
    """

    name: str
    digest: str


def describe_dataset(manifest: Manifest, root: Path) -> dict[str, str]:
    """Return what MLflow keeps of a data set: name, digest, source, schema and profile.

    Args:
        manifest: The set, or the part of it that was used.
        root: The data root it lies under.
    """
    # Not at the top: commands without images start sooner.
    import pandas
    from mlflow.data.pandas_dataset import from_pandas

    # Column by column as Arrow's texts: objects would take 2 GB for a million images.
    columns: dict[str, Any] = {}
    for column in fields(ImageRow):
        texts = list(manifest.images.column(column.name))
        if column.type is int:
            columns[column.name] = pandas.array(list(map(int, texts)), dtype="int64")
        else:
            columns[column.name] = pandas.array(texts, dtype="string[pyarrow]")
    frame = pandas.DataFrame(columns)
    with warnings.catch_warnings():
        # MLflow registers the reader of local folders twice and warns that it cannot choose; and it advises
        # floats for our whole numbers, which are never missing.
        warnings.simplefilter("ignore", UserWarning)
        handle = from_pandas(frame, source=str(root), name=manifest.dataset, digest=manifest.digest)
        described: dict[str, str] = handle.to_dict()
    return described
