"""`predict`: every face of a picture or of a folder's pictures, as a table and drawn."""

from fer.config.commands import PredictConfig
from fer.prediction.pictures import PredictResult, predict_pictures


def run(config: PredictConfig) -> PredictResult:
    """Recognise the faces of the pictures a configuration names, and print the table and where it lies."""
    result = predict_pictures(config)
    print(f"\n{result.summary}\n\n{result.where}")
    return result
