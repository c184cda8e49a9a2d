"""Everything MLflow; besides `fer.serving` the only place that imports it."""

import os

# Read by MLflow at its import, so they are set before any module of this package can import it.
# Inside a uv project MLflow would copy the lock file into every logged model.
os.environ.setdefault("MLFLOW_UV_AUTO_DETECT", "false")
# One bar for each file would bury our own output.
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
