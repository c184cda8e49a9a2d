"""The registered model's own code: logged beside the weights, it needs neither this project nor a pickle.

Input: a table with the column `image`, each a picture's bytes in base64. Output: a row for every face with the number
of its input row, the expression, one probability per expression, the face's box and score, and `error`, a sentence
where a picture gives no answer. A copy of the package `fer.portable`, logged along, does the work.
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
DETECTOR = "centerface.onnx"


class ServedModel(PythonModel):
    """Expression recognition on encoded pictures."""

    def load_context(self, context: Any) -> None:
        """Load classifier and detector.

        Args:
            context: MLflow's. Its artifacts are `classifier`, a folder of `model.json` and `model.safetensors`, and
                `detector`, a folder of an ONNX file; its configuration names the `package` logged along.
        """
        # Its name tells its content, so that two models in one process each run their own code.
        answers = importlib.import_module(f"{context.model_config['package']}.answers")
        places = {name: Path(place) for name, place in context.artifacts.items()}
        self.answering = answers.Answering(places["classifier"], places["detector"] / DETECTOR)
        _keep_traces()

    # MLflow reads the annotation of `model_input` and warns of any but a few kinds.
    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Return a row for every face, and for every picture without an answer.

        Args:
            context: Not used.
            model_input: Table with the column `image`: base64 text, or bytes when called in Python.
            params: `framing`: `auto`, faces as in training, or `none`, the whole picture as one face.
        """
        if COLUMN in model_input:
            rows = self.answering.rows(model_input[COLUMN], (params or {}).get("framing", "auto"))
        else:
            rows = [self.answering.refusal(0, f"the table has no column {COLUMN!r}: name the column of pictures so")]
        # Columns of objects keep None, which becomes null; in columns of numbers it would be NaN.
        table = pd.DataFrame(rows, columns=self.answering.columns, dtype=object)
        return table.astype({"input_row": "int64"})


def _keep_traces() -> None:
    """Keep the paths of this machine out of what MLflow's server, if this is one, answers to damaged CSV and Parquet.

    It never asks the model about those (3.17), and would append its stack trace.
    """
    server, name = sys.modules.get("mlflow.pyfunc.scoring_server"), "_handle_serving_error"
    if hasattr(server, name):
        setattr(server, name, partial(getattr(server, name), include_traceback=False))


mlflow.models.set_model(ServedModel())
