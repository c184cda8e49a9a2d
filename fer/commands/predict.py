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
from fer.prediction.annotate import SQUARE, annotated, overlay
from fer.prediction.explain import explain_faces
from fer.prediction.files import asked_files, asked_place, read_picture, stem_of, write, write_picture
from fer.prediction.recogniser import Recogniser
from fer.prediction.table import Prediction, counts, predictions_csv, predictions_table
from fer.tracking.names import TERMS
from fer.tracking.runs import TrackedRun, tracked
from fer.utils.paths import printable

TABLE = "predictions.csv"
NO_FACE = "no face found; framing=none takes the whole picture as one"
NAMED = 5
"""Skipped files that are named when the command ends; all are in the table."""


@dataclass(frozen=True)
class PredictResult:
    """What `predict` found.

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
    image, output = asked_place(config.image), Path(config.output).expanduser().resolve()
    files = asked_files(image, output)
    recogniser = fer.load(config.model, config.device)
    with tracked("predict", config, f"predict {printable(image.name)}", {"arch": recogniser.spec.arch}) as tracked_run:
        tracked_run.tags(
            {
                "model.trained_on": "+".join(recogniser.spec.trained_on) or "unknown",
                TERMS: "; ".join(recogniser.terms) or "none",
            }
        )
        found, skipped = _look_at_all(recogniser, files, image, output, config, tracked_run)
        write(output / TABLE, predictions_csv(found + skipped).encode())
        tracked_run.metrics({**counts(found), "skipped_files": len(skipped)})
        tracked_run.file(output / TABLE)
    print(f"\n{predictions_table(found)}\n\n{_told(skipped, output, recogniser)}\n\n{tracked_run.where()}")
    return PredictResult(tracked_run.id, found + skipped, output)


def _look_at_all(
    recogniser: Recogniser,
    files: Sequence[Path],
    image: Path,
    output: Path,
    config: PredictConfig,
    tracked_run: TrackedRun,
) -> tuple[list[Prediction], list[Prediction]]:
    """Return the rows of the pictures and those of the files that are none; write and log what is drawn on the way.

    Raises:
        DataError: No file is a picture.
    """
    found: list[Prediction] = []
    skipped: list[Prediction] = []
    for number, file in enumerate(tqdm(files, "predict", unit="file", disable=len(files) == 1)):
        name = file.relative_to(image if image.is_dir() else image.parent)
        try:
            picture = read_picture(file)
        except UnusableImage as fault:
            skipped.append(Prediction(printable(str(name)), error=f"skipped: {fault}"))
            continue
        rows, drawn = _look(recogniser, picture, name, output, config)
        found += rows
        if number - len(skipped) < config.log_pictures:
            tracked_run.file(drawn, printable(str(Path("pictures", name.parent))))
    if not found:
        first = f"{skipped[0].picture}: {skipped[0].error}"
        raise DataError(f"{printable(str(image))} holds no picture; of its {len(files)} files {first}")
    return found, skipped


def _look(
    recogniser: Recogniser, picture: Image.Image, name: Path, output: Path, config: PredictConfig
) -> tuple[list[Prediction], Path]:
    """Return a picture's rows and the annotated picture, written with the maps of its faces where they are wanted."""
    faces = recogniser.faces(picture, framing=config.framing)
    maps = explain_faces(recogniser, faces) if config.explain else []
    stem = output / name.parent / stem_of(name.name)
    for number, (face, found) in enumerate(zip(faces, maps, strict=False), start=1):
        write_picture(Path(f"{stem}.face{number}.png"), overlay(face.crop, found, SQUARE), "PNG")
    drawn = Path(f"{stem}.faces.jpg")
    write_picture(drawn, annotated(picture, faces, maps), "JPEG")
    shown = printable(str(name))
    rows = [
        Prediction(shown, number, face.box, face.score, face.expression, face.probabilities)
        for number, face in enumerate(faces, start=1)
    ]
    return rows or [Prediction(shown, error=NO_FACE)], drawn


def _told(skipped: list[Prediction], output: Path, recogniser: Recogniser) -> str:
    """Return the lines that close the command: what was skipped, where the results lie, and the model's terms."""
    lines = []
    if skipped:
        names = [row.picture for row in skipped[:NAMED]] + (["..."] if len(skipped) > NAMED else [])
        lines.append(f"{len(skipped)} files are no pictures and were skipped: {', '.join(names)}")
    lines.append(f"written: {output / TABLE} and the annotated pictures beside it")
    if recogniser.terms:
        lines.append(f"terms of the model: {'; '.join(recogniser.terms)}")
    return "\n".join(lines)
