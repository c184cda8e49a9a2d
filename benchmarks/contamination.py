"""Measure the search for test images seen in training, behind the constants of `fer.contamination.matching`.

Needs a prepared FER+ and the prepared Wikimedia pictures. Prints three tables: copies made of the Wikimedia pictures
(how many are found, and how little they resemble each other at 16 and 48 px); the Wikimedia pictures among FER+'s
training faces, with the best pairs whatever the threshold; and FER+'s test faces among them.

    python benchmarks/contamination.py --data_root ../datasets
"""

import argparse
import io
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch.nn import functional

from fer.contamination.correlation import SHORTLIST, Contents, search, unit
from fer.contamination.matching import COPY, IDENTICAL, WITHIN, Match, find_matches
from fer.contamination.signatures import LARGE, SMALL, image_signatures, read_grey, whole_images
from fer.data.manifest import Manifest, read_manifest
from fer.utils.paths import manifest_path, resolve_data_root

COPIES = 5
"""Of each picture."""
LOW = 0.92
"""Correlation from which pairs are shown in the second table."""
THRESHOLDS = (0.95, 0.96, 0.97, 0.98, 0.99)
"""Correlations from which the third table counts pairs."""


@contextmanager
def timed(task: str) -> Iterator[None]:
    """Print how long a task took."""
    start = time.perf_counter()
    yield
    print(f"{task}: {time.perf_counter() - start:.1f} s ({torch.get_num_threads()} threads)")


def make_copy(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Return a crop of half a picture or more, mirrored or not, resized, recompressed and of other brightness."""
    side = rng.uniform(0.5, 1) * min(picture.size)
    left = rng.uniform(0, picture.width - side)
    top = rng.uniform(0, picture.height - side)
    filters = (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS)
    box = (left, top, left + side, top + side)
    crop = picture.resize((LARGE, LARGE), filters[rng.integers(3)], box=box)
    content = io.BytesIO()
    crop.save(content, "JPEG", quality=int(rng.integers(40, 95)))
    gain = rng.uniform(0.5, 1.2)
    shift = rng.uniform(-20, 20)
    changed = Image.open(content).convert("L").point(lambda value: gain * value + shift)
    return ImageOps.mirror(changed) if rng.random() < 0.5 else changed


def measure_copies(test: Manifest, root: Path) -> None:
    """Print how well copies are found."""
    rng = np.random.default_rng(0)
    coarse, fine = [], []
    for row, picture in zip(test.images, whole_images(test, root), strict=True):
        containers = with_mirrored(picture)
        for _ in range(COPIES):
            copy = make_copy(read_grey(row, root), rng)
            large, small = (torch.from_numpy(np.array(copy.resize((side, side)))) for side in (LARGE, SMALL))
            contents = Contents(small[None], large[None])
            hits = search(containers, contents, WITHIN, threshold=0.0)
            fine.append(max((hit.correlation for hit in hits), default=0.0))
            coarse.append(best_at_small(containers, contents))
    count = sum(value >= COPY for value in fine)
    print(f"\ncopies of the Wikimedia pictures: {count} of {len(fine)} found")
    for name, values, threshold in (("16 px", coarse, SHORTLIST), ("48 px", fine, COPY)):
        quantiles = ", ".join(f"{value:.3f}" for value in np.quantile(values, (0, 0.01, 0.1, 0.5)))
        print(f"  correlation at {name}: {quantiles} (least, 1 %, 10 %, median); threshold {threshold}")


def with_mirrored(picture: np.ndarray) -> torch.Tensor:
    """Return `(2, H, W)` for `(H, W)`."""
    return torch.from_numpy(np.stack([picture, picture[:, ::-1]]))


def best_at_small(containers: torch.Tensor, contents: Contents) -> float:
    """Return the best correlation of a content with any 16 px window of any size searched, by brute force."""
    best, shorter = -1.0, min(containers.shape[-2:])
    for side in WITHIN:
        size = [max(round(length * side / shorter), side) for length in containers.shape[-2:]]
        resized = functional.interpolate(containers[:, None].float(), size, mode="bilinear", antialias=True)
        windows = unit(functional.unfold(resized, SMALL).transpose(1, 2))
        best = max(best, float((windows @ contents.units[0]).max()))
    return best


def measure_free_faces(test: Manifest, training: Manifest, root: Path) -> None:
    """Print which of the free faces are found among FER+'s, and what resembles them most."""
    trained, tested = image_signatures(training, root), image_signatures(test, root)
    pictures = whole_images(test, root)
    print(f"\n{len(tested)} Wikimedia pictures among {len(trained)} training faces of FER+")
    with timed("  search"):
        matches = find_matches(tested, trained, pictures)
    print_counts(matches)
    contents = Contents(torch.from_numpy(trained.small), torch.from_numpy(trained.large))
    best: dict[tuple[int, int], float] = {}
    for index, picture in enumerate(pictures):
        for hit in search(with_mirrored(picture), contents, WITHIN, LOW):
            pair = (index, hit.content)
            best[pair] = max(best.get(pair, 0.0), hit.correlation)
    print("  the best pairs:")
    for (index, content), value in sorted(best.items(), key=lambda item: -item[1])[:5]:
        print(f"  {value:.4f}  {Path(tested.paths[index]).name}  {Path(trained.paths[content]).name}")


def measure_test_faces(test: Manifest, training: Manifest, root: Path) -> None:
    """Print which of FER+'s test faces are found among its training faces."""
    trained, tested = image_signatures(training, root), image_signatures(test, root)
    print(f"\n{len(tested)} test faces of FER+ among its {len(trained)} training faces")
    with timed("  search"):
        matches = find_matches(tested, trained)
    print_counts(matches)
    for threshold in THRESHOLDS:
        pairs = [match for match in matches if (match.correlation or 0) >= threshold]
        print(f"  from {threshold}: {len(pairs)} pairs, {len({match.test for match in pairs})} test faces")


def print_counts(matches: Sequence[Match]) -> None:
    """Print how many images and pairs were found."""
    images = len({match.test for match in matches})
    identical = sum(match.kind == IDENTICAL for match in matches)
    print(f"  {images} test images, {len(matches)} pairs, of them {identical} identical")


def main() -> None:
    """Measure and print three tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data_root", default="")
    root = resolve_data_root(parser.parse_args().data_root)
    ferplus = read_manifest(manifest_path(root, "ferplus"))
    free = read_manifest(manifest_path(root, "wikimedia")).of("test")
    train = ferplus.of("train")
    # The signatures are made here, so that the searches are timed without them.
    with timed(f"signatures of {len(train.images)} training faces (0 s if they were kept)"):
        image_signatures(train, root)
    measure_copies(free, root)
    measure_free_faces(free, train, root)
    measure_test_faces(ferplus.of("test"), train, root)


if __name__ == "__main__":
    main()
