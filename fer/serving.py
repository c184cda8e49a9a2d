"""Serve a registered model: its own code, logged beside the weights, needs neither this project nor a pickle.

Input: a table with the column `image`, each a picture's bytes in base64. Output: a row for every face with the number
of its input row, the expression, one probability per expression, the face's box and score, and `error`, a sentence
where a picture gives no prediction. A copy of the package `fer.portable`, logged along, does the work.
"""

import importlib
import sys
from functools import partial
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.pyfunc.model import PythonModel

COLUMN = "image"
"""The input's column."""
DETECTOR = "centerface.onnx"
"""File of the detector's weights."""


class ServedModel(PythonModel):
    """Expression recognition on encoded pictures."""

    def load_context(self, context: Any) -> None:
        """Load classifier and detector.

        Args:
            context: MLflow's. Its artifacts are `classifier`, a folder of `model.json` and `model.safetensors`, and
                `detector`, a folder of an ONNX file; its configuration names the `package` logged along.
        """
        # Its name tells its content, so that two models in one process each run their own code.
        predictions = importlib.import_module(f"{context.model_config['package']}.predictions")
        classifier = Path(context.artifacts["classifier"])
        detector = Path(context.artifacts["detector"]) / DETECTOR
        self.predictor = predictions.Predictor(classifier, detector)
        _hide_traces()

    # MLflow reads the annotation of `model_input` and warns of any but a few kinds.
    def predict(
        self,
        context: Any,
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,
    ) -> pd.DataFrame:
        """Return a row for every face, and for every picture without a prediction.

        Args:
            context: Not used.
            model_input: Table with the column `image`: base64 text, or bytes when called in Python.
            params: `framing`: `auto`, faces as in training, or `none`, the whole picture as one face.
        """
        if COLUMN in model_input:
            framing = (params or {}).get("framing", "auto")
            rows = self.predictor.rows(model_input[COLUMN], framing)
        else:
            message = f"the table has no column {COLUMN!r}: name the column of pictures so"
            rows = [self.predictor.refusal(0, message)]
        # Columns of objects keep None, which becomes null; in columns of numbers it would be NaN.
        table = pd.DataFrame(rows, columns=self.predictor.columns, dtype=object)
        return table.astype({"input_row": "int64"})


def _hide_traces() -> None:
    """Keep stack traces out of the responses of MLflow's server, if this is one, to damaged CSV and Parquet.

    It never asks the model about those (3.17), and a trace shows the paths of this machine.
    """
    server = sys.modules.get("mlflow.pyfunc.scoring_server")
    name = "_handle_serving_error"
    if hasattr(server, name):
        handle = getattr(server, name)
        setattr(server, name, partial(handle, include_traceback=False))


mlflow.models.set_model(ServedModel())
