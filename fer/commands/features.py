"""`features`: what a network sees in faces, as a table for other programs."""

from fer.config.commands import FeaturesConfig
from fer.prediction.features import FeaturesResult, write_features
from fer.utils.paths import size_in_megabytes


def run(config: FeaturesConfig) -> FeaturesResult:
    """Write the features of the faces a configuration names, and print where they lie and how to read them."""
    result = write_features(config)
    file, described = result.file, result.description
    read = "read_parquet" if file.suffix == ".parquet" else "read_csv"
    print(f"{file}: {described['rows']:,} faces, {size_in_megabytes(file)}; described in {result.sidecar.name}")
    print(f"features: {described['features']}")
    print(f"read it with pandas.{read}({file.name!r})")
    if described["skipped"]:
        print(f"without a face, and left out: {len(described['skipped'])} files; {result.sidecar.name} says why")
    print("Terms it inherits:", *(described["terms"] or ["none"]), sep="\n")
    return result
