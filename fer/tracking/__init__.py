"""Everything MLflow; besides `fer.serving` the only place that imports it."""

import os

# Read by MLflow at its import, so they are set before any module of this package can import it.
# Inside a uv project MLflow would copy the lock file into every logged model.
os.environ.setdefault("MLFLOW_UV_AUTO_DETECT", "false")
# One bar for each file would bury our own output.
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
# A line for each run would bury the one link that a command prints, and lead to MLflow's GenAI pages.
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
# What is to be recorded is sent by a thread that tries as long as it takes; whatever else asks a server gives up after
# 15 seconds of pauses instead of four minutes.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "4")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "1")
