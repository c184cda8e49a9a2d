"""Recognise every face of a picture or of a folder's pictures in one tracked run; write a table and drawings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from tqdm import tqdm

import fer
from fer.config.commands import PredictConfig
from fer.errors import DataError
from fer.model_card.descriptions import run_description
from fer.portable.images import UnusableImage
from fer.prediction import files
from fer.prediction.annotate import CROP_SIDE, annotate_picture, overlay_saliency
from fer.prediction.explain import explain_faces
from fer.prediction.files import Prediction
from fer.prediction.recogniser import RecognisedFace, Recogniser
from fer.tracking.lifecycle import tracked
from fer.tracking.links import run_link
from fer.tracking.naming import joined_name, model_label, resolve_alias
from fer.tracking.runs import TrackedRun
from fer.utils.paths import printable
from fer.utils.rendering import escape_markdown

CSV_NAME = "predictions.csv"
PICTURES = "pictures"
"""Folder of annotated pictures among the run's artifacts."""


@dataclass(frozen=True)
class PredictResult:
    """Predictions of a picture or a folder of pictures.

    Attributes:
        run_id: The MLflow run.
        rows: A row for every face and for every picture without one, then one for every file that is no picture.
        output: The folder of the table and the annotated pictures.
        summary: The table and the lines that close the command.
        where: Lines that tell a person where to look at the run.
    """

    run_id: str
    rows: list[Prediction]
    output: Path
    summary: str
    where: str


def predict_pictures(config: PredictConfig) -> PredictResult:
    """Recognise the faces of the pictures a configuration names, in one tracked run.

    Raises:
        ConfigError: The picture or folder does not exist, or the output cannot be beside it.
        DataError: There is no readable picture, or the output cannot be written.
        ModelError: The model does not exist or does not fit.
    """
    image = files.existing_path(config.image)
    output = Path(config.output).expanduser().resolve()
    paths = files.list_pictures(image, output)
    # Everything that a slip may spoil comes before the run, so that it leaves no failed one behind.
    model = resolve_alias(config.model)
    recogniser = fer.load(model, config.device)
    spec = recogniser.spec
    terms = "; ".join(recogniser.terms)
    trained_on = "+".join(spec.trained_on)
    shown = {"model": model, "arch": spec.arch, "device": recogniser.device.type}
    name = joined_name("predict", image.name, model_label(model))
    with tracked("predict", config, name, shown) as run:
        run.tags({"model.trained_on": trained_on or "unknown", "terms": terms or "none"})
        folder = image if image.is_dir() else image.parent
        predictor = _Predictor(recogniser, folder, output, config)
        for path in tqdm(paths, "predict", unit="file", disable=len(paths) == 1):
            predictor.predict(path)
        rows, skipped = predictor.rows, predictor.skipped
        if not rows:
            first = f"{skipped[0].picture}: {skipped[0].error}"
            raise DataError(f"{printable(str(image))} holds no picture; of its {len(paths)} files {first}")
        # A few only: a folder of thousands would fill the server.
        for path in predictor.annotated[: config.log_pictures]:
            subfolder = Path(PICTURES) / path.relative_to(output).parent
            run.file(path, printable(str(subfolder)))
        table = output / CSV_NAME
        files.write_file(table, files.predictions_csv(rows + skipped).encode())
        counts = {**files.count_faces(rows), "skipped_files": len(skipped)}
        run.metrics(counts)
        run.file(table)
        run.describe(_description(run, model_label(model), counts, min(len(paths), config.log_pictures)))
    lines = [files.predictions_table(rows), ""]
    if skipped:
        lines.append(f"{len(skipped)} files are no pictures and were skipped: {CSV_NAME} says which and why")
    lines.append(f"written: {table} and the annotated pictures beside it")
    if terms:
        lines.append(f"terms of the model: {terms}")
    return PredictResult(run.id, rows + skipped, output, "\n".join(lines), run.where())


def _description(run: TrackedRun, model: str, counts: Mapping[str, int], logged: int) -> str:
    """Describe a run.

    Args:
        run: The run.
        model: What the model is called.
        counts: Of pictures, faces and skipped files.
        logged: How many annotated pictures the run has at most.
    """
    link = run_link(run.experiment_id, run.id, CSV_NAME)
    lead = (
        f"Predictions of **{escape_markdown(model)}**: {counts['faces']:,} faces in {counts['pictures']:,} pictures; "
        f"{counts['skipped_files']:,} files skipped."
    )
    pictures = f"`{PICTURES}` among its artifacts holds the first annotated pictures (at most {logged})."
    note = f"[{CSV_NAME}]({link}) has a row for each face and each file that gave none; {pictures}"
    return run_description(lead, notes=[note])


class _Predictor:
    """Predicts pictures one by one and keeps what came out.

    Attributes:
        rows: Of every face, and of every picture without one.
        skipped: Rows of the files that are no pictures.
        annotated: The drawings, in the order of the pictures.
    """

    def __init__(
        self,
        recogniser: Recogniser,
        folder: Path,
        output: Path,
        config: PredictConfig,
    ) -> None:
        self.recogniser = recogniser
        self.folder = folder
        self.output = output
        self.config = config
        self.rows: list[Prediction] = []
        self.skipped: list[Prediction] = []
        self.annotated: list[Path] = []

    def predict(self, path: Path) -> None:
        """Predict a picture's faces and write its drawing."""
        name = path.relative_to(self.folder)
        try:
            files.use_picture(path, lambda picture: self._predict(name, picture))
        except UnusableImage as error:
            self.skipped.append(Prediction(printable(str(name)), error=f"skipped: {error}"))

    def _predict(self, name: Path, picture: Image.Image) -> None:
        """Predict the faces of a picture with this name in its folder."""
        shown = printable(str(name))
        faces = self.recogniser.faces(picture, framing=self.config.framing)
        self._draw(self.output / name.parent / files.output_stem(name.name), picture, faces)
        for number, face in enumerate(faces, start=1):
            self.rows.append(Prediction(shown, number, face))
        # Every picture is accounted for, so that none seems to have been forgotten.
        if not faces:
            self.rows.append(Prediction(shown, error=files.NO_FACE))

    def _draw(self, stem: Path, picture: Image.Image, faces: Sequence[RecognisedFace]) -> None:
        """Write a picture's drawing, and the saliency maps that are asked for."""
        maps = explain_faces(self.recogniser, faces) if self.config.explain else []
        # Only the first faces have maps.
        for number, (face, saliency) in enumerate(zip(faces, maps, strict=False), start=1):
            overlay = overlay_saliency(face.crop, saliency, CROP_SIDE)
            files.write_picture(Path(f"{stem}.face{number}.png"), overlay, "PNG")
        path = Path(f"{stem}.faces.jpg")
        files.write_picture(path, annotate_picture(picture, faces, maps), "JPEG")
        self.annotated.append(path)
