"""Imported once by the process that all programs are forks of: what each of them would need seconds to import."""

import importlib

from mlflow.utils import requirements_utils

for name in (
    "fer.cli",
    "fer.commands.experiment",
    "fer.commands.finetune",
    "fer.commands.pretrain",
    "fer.commands.sync",
    "fer.pipeline.finalize",
    "fer.tracking.models",
    "fer.tracking.views",
    "matplotlib.backends.backend_agg",
    "mlflow.pyfunc",
    "mlflow.server.fastapi_app",
    "onnxruntime",
    "torch.optim",
    "uvicorn",
):
    importlib.import_module(name)
# MLflow looks through all installed packages for it, once a process.
requirements_utils._init_modules_to_packages_map()
