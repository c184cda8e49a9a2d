"""Where FER+'s faces stand in their pictures: the measurements behind the constants of `fer.portable.framing`.

Needs a prepared FER+. Each picture is enlarged and given a border of its edge pixels, so that the detector sees the
whole of faces that fill the picture. All figures are fractions of the picture's side.

    python benchmarks/framing.py --data_root ../datasets --images 3000
"""

import argparse
import time

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from fer.data.framing import center_face
from fer.data.manifest import ImageRow, read_manifest
from fer.portable.detection import Face
from fer.portable.framing import eyes_to_mouth, frame_of, main_face
from fer.portable.images import read_rgb
from fer.utils.parallel import thread_pool
from fer.utils.paths import manifest_path, resolve_data_root

SIDE = 192
BORDER = 48
QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)


def enlarged(picture: Image.Image) -> NDArray[np.uint8]:
    """Return a picture as the detector gets it, `(H, W, 3)`."""
    pixels = np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BILINEAR))
    return np.pad(pixels, ((BORDER, BORDER), (BORDER, BORDER), (0, 0)), mode="edge")


def measured(faces: list[Face]) -> dict[str, NDArray[np.float64]]:
    """Return what is measured, by name: arrays `(N,)` in fractions of the side, and the roll in degrees."""
    points = (np.stack([face.landmarks for face in faces]) - BORDER) / SIDE
    left_eye = points[:, 0]
    right_eye = points[:, 1]
    eyes = points[:, :2].mean(1)
    mouth = points[:, 3:].mean(1)
    frames = [frame_of(face) for face in faces]
    return {
        "distance of the eyes": np.hypot(*(right_eye - left_eye).T),
        "eyes to mouth": np.array([eyes_to_mouth(face) for face in faces]) / SIDE,
        "middle of the eyes, x": eyes[:, 0],
        "middle of the eyes, y": eyes[:, 1],
        "middle of the mouth, y": mouth[:, 1],
        "frame's centre, x": np.array([frame.x - BORDER for frame in frames]) / SIDE,
        "frame's centre, y": np.array([frame.y - BORDER for frame in frames]) / SIDE,
        "frame's side": np.array([frame.side for frame in frames]) / SIDE,
        "roll in degrees": np.array([frame.rotation for frame in frames]),
    }


def main() -> None:
    """Measure and print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data_root", default="")
    parser.add_argument("--images", type=int, default=3000, help="training pictures, chosen by seed 0")
    arguments = parser.parse_args()
    root = resolve_data_root(arguments.data_root)
    rows = read_manifest(manifest_path(root, "ferplus")).of("train").images
    order = np.random.default_rng(0).permutation(len(rows))
    chosen = [rows[index] for index in order[: arguments.images]]
    detector = center_face()
    whole = SIDE + 2 * BORDER

    def detect(row: ImageRow) -> Face | None:
        return main_face(detector.faces(enlarged(read_rgb(root / row.path))), whole, whole)

    started = time.process_time()
    with thread_pool() as executor:
        detected = list(tqdm(executor.map(detect, chosen), "detect", len(chosen), unit="image"))
    seconds = (time.process_time() - started) / len(chosen)
    faces = [face for face in detected if face]
    print(f"{len(faces)} of {len(chosen)} faces found, {1000 * seconds:.0f} ms of one core each")
    print_table(measured(faces))


def print_table(table: dict[str, NDArray[np.float64]]) -> None:
    """Print quantiles and standard deviations of what was measured."""
    print(f"{'':24}{'10 %':>8}{'25 %':>8}{'median':>8}{'75 %':>8}{'90 %':>8}{'sd':>8}{'sd of log':>11}")
    for name, values in table.items():
        quantiles = "".join(f"{value:8.3f}" for value in np.quantile(values, QUANTILES))
        # Lengths vary in proportion; positions and angles may be negative and have no logarithm.
        relative = f"{np.log(values).std():11.3f}" if values.min() > 0 else ""
        print(f"{name:24}{quantiles}{values.std():8.3f}{relative}")


if __name__ == "__main__":
    main()
