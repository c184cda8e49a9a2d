"""What the search for seen test images finds, behind the constants of `fer.contamination.matching`.

Needs a prepared FER+ and the prepared Wikimedia pictures. Prints three tables: copies made of the Wikimedia pictures
(how many are found, and how little they resemble each other at 16 and 48 px); the Wikimedia pictures among FER+'s
training faces, with the best pairs whatever the threshold; and FER+'s test faces among them.

    python benchmarks/contamination.py --data_root ../datasets
"""

import argparse
import io
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps

from fer.contamination.correlation import SHORTLIST, Contents, search, unit
from fer.contamination.matching import COPY, IDENTICAL, WITHIN, Match, find_matches, whole_images
from fer.contamination.signatures import LARGE, SMALL, grey, image_signatures
from fer.data.manifest import Manifest, read_manifest
from fer.utils.paths import manifest_path, resolve_data_root

COPIES = 5
"""Of each picture."""
LOW = 0.92
"""Correlation from which pairs are shown in the second table."""


@contextmanager
def timed(what: str) -> Iterator[None]:
    """Print what was done and how long it took."""
    started, worked = time.perf_counter(), time.process_time()
    yield
    seconds, processor = time.perf_counter() - started, time.process_time() - worked
    print(f"{what}: {seconds:.1f} s, {processor:.1f} s of one core ({torch.get_num_threads()} threads)")


def copied(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Return a crop of half a picture or more, mirrored or not, resized, recompressed and of other brightness."""
    side = rng.uniform(0.5, 1) * min(picture.size)
    left, top = rng.uniform(0, picture.width - side), rng.uniform(0, picture.height - side)
    filters = (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS)
    crop = picture.resize((LARGE, LARGE), filters[rng.integers(3)], box=(left, top, left + side, top + side))
    content = io.BytesIO()
    crop.save(content, "JPEG", quality=int(rng.integers(40, 95)))
    gain, shift = rng.uniform(0.5, 1.2), rng.uniform(-20, 20)
    changed = Image.open(content).convert("L").point(lambda value: gain * value + shift)
    return ImageOps.mirror(changed) if rng.random() < 0.5 else changed


def sensitivity(test: Manifest, root: Path) -> None:
    """Print how well copies are found."""
    rng, pictures = np.random.default_rng(0), whole_images(test, root)
    coarse, fine = [], []
    for row, picture in zip(test.images, pictures, strict=True):
        containers = torch.from_numpy(np.stack([picture, picture[:, ::-1]]))
        for _ in range(COPIES):
            copy = copied(grey(row, root), rng)
            large, small = (torch.from_numpy(np.array(copy.resize((side, side)))) for side in (LARGE, SMALL))
            contents = Contents(small[None], large[None])
            fine.append(max((hit.correlation for hit in search(containers, contents, WITHIN, 0.0)), default=0.0))
            coarse.append(best_at_small(containers, contents))
    found = np.array(fine) >= COPY
    print(f"\ncopies of the Wikimedia pictures: {found.sum()} of {len(found)} found")
    for name, values, limit in (("16 px", coarse, SHORTLIST), ("48 px", fine, COPY)):
        low = ", ".join(f"{value:.3f}" for value in np.quantile(values, (0, 0.01, 0.1, 0.5)))
        print(f"  correlation at {name}: {low} (least, 1 %, 10 %, median); threshold {limit}")


def best_at_small(containers: torch.Tensor, contents: Contents) -> float:
    """Return the best correlation of a content with any 16 px window of any size searched, by brute force."""
    best, shorter = -1.0, min(containers.shape[-2:])
    for side in WITHIN:
        size = [max(round(length * side / shorter), side) for length in containers.shape[-2:]]
        resized = torch.nn.functional.interpolate(containers[:, None].float(), size, mode="bilinear", antialias=True)
        windows = unit(torch.nn.functional.unfold(resized, SMALL).transpose(1, 2))
        best = max(best, float((windows @ contents.units[0]).max()))
    return best


def free_faces(test: Manifest, training: Manifest, root: Path) -> None:
    """Print what is found of the free faces among FER+'s, and what resembles them most."""
    known, seen, pictures = image_signatures(training, root), image_signatures(test, root), whole_images(test, root)
    print(f"\n{len(seen)} Wikimedia pictures among {len(known)} training faces of FER+")
    with timed("  search"):
        found = find_matches(seen, known, pictures)
    listed(found)
    contents = Contents(torch.from_numpy(known.small), torch.from_numpy(known.large))
    best: dict[tuple[int, int], float] = {}
    for index, picture in enumerate(pictures):
        for hit in search(torch.from_numpy(np.stack([picture, picture[:, ::-1]])), contents, WITHIN, LOW):
            best[index, hit.content] = max(best.get((index, hit.content), 0.0), hit.correlation)
    print("  the best pairs:")
    for (index, content), value in sorted(best.items(), key=lambda item: -item[1])[:5]:
        print(f"  {value:.4f}  {Path(seen.paths[index]).name}  {Path(known.paths[content]).name}")


def test_faces(test: Manifest, training: Manifest, root: Path) -> None:
    """Print what is found of FER+'s test faces among its training faces."""
    known, seen = image_signatures(training, root), image_signatures(test, root)
    print(f"\n{len(seen)} test faces of FER+ among its {len(known)} training faces")
    with timed("  search"):
        found = find_matches(seen, known)
    listed(found)
    for limit in (0.95, 0.96, 0.97, 0.98, 0.99):
        pairs = [match for match in found if (match.correlation or 0) >= limit]
        print(f"  from {limit}: {len(pairs)} pairs, {len({match.test for match in pairs})} test faces")


def listed(found: list[Match]) -> None:
    """Print how many images and pairs were found."""
    images = len({match.test for match in found})
    identical = sum(match.kind == IDENTICAL for match in found)
    print(f"  {images} test images, {len(found)} pairs, of them {identical} identical")


def main() -> None:
    """Measure and print three tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data_root", default="")
    root = resolve_data_root(parser.parse_args().data_root)
    ferplus = read_manifest(manifest_path(root, "ferplus"))
    free = read_manifest(manifest_path(root, "wikimedia")).of("test")
    with timed(f"remember {len(ferplus.of('train').images)} training faces (0 s if they were already)"):
        image_signatures(ferplus.of("train"), root)
    sensitivity(free, root)
    free_faces(free, ferplus.of("train"), root)
    test_faces(ferplus.of("test"), ferplus.of("train"), root)


if __name__ == "__main__":
    main()
