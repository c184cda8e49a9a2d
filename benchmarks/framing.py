"""Where FER+'s faces stand in their pictures: the measurements behind the constants of `fer.portable.framing`.

Needs a prepared FER+. Each picture is enlarged and given a border of its edge pixels, so that the detector sees the
whole of faces that fill the picture. All figures are shares of the picture's side.

    python benchmarks/framing.py --data_root ../datasets --images 3000
"""

import argparse
import time

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from fer.data.detector import center_face
from fer.data.manifest import ImageRow, read_manifest
from fer.portable.detection import Face
from fer.portable.framing import eyes_to_mouth, frame_of, main_face
from fer.portable.images import read_rgb
from fer.utils.parallel import thread_pool
from fer.utils.paths import manifest_path, resolve_data_root

SIDE, BORDER = 192, 48


def enlarged(picture: Image.Image) -> NDArray[np.uint8]:
    """Return a picture as the detector gets it, `(H, W, 3)`."""
    pixels = np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BILINEAR))
    return np.pad(pixels, ((BORDER, BORDER), (BORDER, BORDER), (0, 0)), mode="edge")


def measured(faces: list[Face]) -> dict[str, NDArray[np.float64]]:
    """Return (N,) arrays of shares of the side, by name."""
    points = (np.stack([face.landmarks for face in faces]) - BORDER) / SIDE
    eyes, mouth = points[:, :2].mean(1), points[:, 3:].mean(1)
    frames = [frame_of(face) for face in faces]
    across = points[:, 1] - points[:, 0]
    return {
        "distance of the eyes": np.hypot(*across.T),
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
    chosen = np.random.default_rng(0).permutation(len(rows))[: arguments.images]
    detector, whole = center_face(), SIDE + 2 * BORDER

    def look(row: ImageRow) -> Face | None:
        return main_face(detector.faces(enlarged(read_rgb(root / row.path))), whole, whole)

    started = time.process_time()
    with thread_pool() as pool:
        faces = list(tqdm(pool.map(look, (rows[index] for index in chosen)), "detect", len(chosen), unit="image"))
    taken = (time.process_time() - started) / len(chosen)
    found = [face for face in faces if face]
    print(f"{len(found)} of {len(chosen)} faces found, {1000 * taken:.0f} ms of one core each")
    print(f"{'':24}{'10 %':>8}{'25 %':>8}{'median':>8}{'75 %':>8}{'90 %':>8}{'sd':>8}{'sd of log':>11}")
    for name, values in measured(found).items():
        spread = np.quantile(values, (0.1, 0.25, 0.5, 0.75, 0.9))
        relative = f"{np.log(values).std():11.3f}" if values.min() > 0 else ""
        print(f"{name:24}" + "".join(f"{value:8.3f}" for value in spread) + f"{values.std():8.3f}{relative}")


if __name__ == "__main__":
    main()
