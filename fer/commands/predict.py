"""`predict`: every face of a picture or of a folder's pictures, as a table and drawn."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from tqdm import tqdm

import fer
from fer.config.commands import PredictConfig
from fer.errors import DataError
from fer.portable.images import UnusableImage
from fer.prediction import files
from fer.prediction.annotate import CROP_SIDE, annotate_picture, overlay_saliency
from fer.prediction.explain import explain_faces
from fer.prediction.files import Prediction
from fer.prediction.recogniser import Recogniser
from fer.tracking.lifecycle import tracked
from fer.tracking.runs import TrackedRun
from fer.utils.paths import printable

CSV_NAME = "predictions.csv"
NO_FACE = "no face found; framing=none takes the whole picture as one"
MAX_NAMED_FILES = 5
"""Skipped files that are named when the command ends; all are in the table."""


@dataclass(frozen=True)
class PredictResult:
    """Predictions of a picture or a folder of pictures.

    Attributes:
        run_id: The MLflow run.
        rows: A row for every face and for every picture without one, then one for every file that is no picture.
        output: The folder of the table and the annotated pictures.
    """

    run_id: str
    rows: list[Prediction]
    output: Path


def run(config: PredictConfig) -> PredictResult:
    """Recognise the faces of the pictures a configuration names, in one tracked run.

    Raises:
        ConfigError: The picture or folder does not exist, or the output cannot be beside it.
        DataError: There is no readable picture, or the output cannot be written.
        ModelError: The model does not exist or does not fit.
    """
    image = files.resolve_image_option(config.image)
    output = Path(config.output).expanduser().resolve()
    paths = files.list_pictures(image, output)
    recogniser = fer.load(config.model, config.device)
    spec = recogniser.spec
    with tracked("predict", config, f"predict {printable(image.name)}", {"arch": spec.arch}) as tracked_run:
        tracked_run.tags(
            {
                "model.trained_on": "+".join(spec.trained_on) or "unknown",
                "terms": "; ".join(recogniser.terms) or "none",
            }
        )
        rows, skipped = _predict_all(recogniser, paths, image, output, config, tracked_run)
        table = output / CSV_NAME
        files.write_file(table, files.predictions_csv(rows + skipped).encode())
        tracked_run.metrics({**files.count_faces(rows), "skipped_files": len(skipped)})
        tracked_run.file(table)
    print(f"\n{files.predictions_table(rows)}\n\n{_summary(skipped, table, recogniser)}\n\n{tracked_run.where()}")
    return PredictResult(tracked_run.id, rows + skipped, output)


def _predict_all(
    recogniser: Recogniser,
    paths: Sequence[Path],
    image: Path,
    output: Path,
    config: PredictConfig,
    tracked_run: TrackedRun,
) -> tuple[list[Prediction], list[Prediction]]:
    """Return the rows of the pictures and those of the files that are none; write and log annotated pictures.

    Raises:
        DataError: No file is a picture.
    """
    rows: list[Prediction] = []
    skipped: list[Prediction] = []
    folder = image if image.is_dir() else image.parent
    for number, path in enumerate(tqdm(paths, "predict", unit="file", disable=len(paths) == 1)):
        name = path.relative_to(folder)
        try:
            picture = files.read_picture(path)
        except UnusableImage as error:
            skipped.append(Prediction(printable(str(name)), error=f"skipped: {error}"))
            continue
        picture_rows, annotated = _predict_picture(recogniser, picture, name, output, config)
        rows += picture_rows
        # Counted without the skipped files, so that as many pictures are logged as were asked for.
        if number - len(skipped) < config.log_pictures:
            tracked_run.file(annotated, printable(str(Path("pictures", name.parent))))
    if not rows:
        first = f"{skipped[0].picture}: {skipped[0].error}"
        raise DataError(f"{printable(str(image))} holds no picture; of its {len(paths)} files {first}")
    return rows, skipped


def _predict_picture(
    recogniser: Recogniser,
    picture: Image.Image,
    name: Path,
    output: Path,
    config: PredictConfig,
) -> tuple[list[Prediction], Path]:
    """Return a picture's rows and its annotated copy, written with the saliency maps that are asked for."""
    faces = recogniser.faces(picture, framing=config.framing)
    maps = explain_faces(recogniser, faces) if config.explain else []
    stem = output / name.parent / files.output_stem(name.name)
    # Only the first faces have maps.
    for number, (face, saliency) in enumerate(zip(faces, maps, strict=False), start=1):
        overlay = overlay_saliency(face.crop, saliency, CROP_SIDE)
        files.write_picture(Path(f"{stem}.face{number}.png"), overlay, "PNG")
    annotated = Path(f"{stem}.faces.jpg")
    files.write_picture(annotated, annotate_picture(picture, faces, maps), "JPEG")
    shown = printable(str(name))
    rows = [
        Prediction(shown, number, face.box, face.score, face.expression, face.probabilities)
        for number, face in enumerate(faces, start=1)
    ]
    return rows or [Prediction(shown, error=NO_FACE)], annotated


def _summary(skipped: list[Prediction], table: Path, recogniser: Recogniser) -> str:
    """Return the lines that close the command: files skipped, where the results lie, and the model's terms."""
    lines = []
    if skipped:
        names = [row.picture for row in skipped[:MAX_NAMED_FILES]]
        if len(skipped) > MAX_NAMED_FILES:
            names.append("...")
        lines.append(f"{len(skipped)} files are no pictures and were skipped: {', '.join(names)}")
    lines.append(f"written: {table} and the annotated pictures beside it")
    if recogniser.terms:
        lines.append(f"terms of the model: {'; '.join(recogniser.terms)}")
    return "\n".join(lines)
