"""A set of somebody's own pictures: what its classes mean, how it is split, and what of it is missing."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from fer.data.datasets.base import Candidate, Scan
from fer.data.datasets.class_names import map_classes, parse_class_map
from fer.data.datasets.labelled_files import LabelledFile, read_source
from fer.data.manifest import SPLITS
from fer.data.splits import TEST_FRACTION, VALIDATION_FRACTION, held_out_groups, held_out_names
from fer.errors import DataError, quoted
from fer.expressions import EXPRESSIONS
from fer.utils.rendering import text_table

LEFT_OUT_SHOWN = 10
"""Classes that are left out whose names are shown."""


def scan(class_map: str, split: str, source: Path) -> Scan:
    """Scan the pictures of somebody's own set.

    Args:
        class_map: Expressions of its classes, as `parse_class_map` reads them; empty: by their names.
        split: `auto`, or `train` or `test` for all of it.
        source: A folder or a table, as `read_source` takes them.

    Raises:
        WrongFolder: It holds neither class folders nor a table.
        DataError: No class means an expression, a person stands in two splits, or the table cannot be read.
        ConfigError: The map names a class that is not there.
    """
    files, kind = read_source(source)
    if not files:
        raise DataError(f"{source} has no file in its class folders: put the pictures there")
    labels = sorted({file.label for file in files})
    expressions = map_classes(labels, parse_class_map(class_map))
    used = [file for file in files if expressions[file.label]]
    names = [str(expressions[file.label]) for file in used]
    splits, how = split_files(used, names, split)
    result = Scan()
    for file, expression, part in zip(used, names, splits, strict=True):
        # Files of one name may lie in several folders.
        name = file.source_name.replace("/", "__")
        result.candidates.append(
            Candidate(file.path, expression, part, name, file.source_name, person=file.person),
        )
    for file in files:
        if not expressions[file.label]:
            result.left_out.append((file.source_name, f"class {file.label!r} is none of the seven expressions"))
    result.understood = describe_scan(f"{kind}; {how}", files, expressions, result)
    return result


def split_files(files: Sequence[LabelledFile], expressions: Sequence[str], option: str) -> tuple[list[str], str]:
    """Return the split of every file, and how it was chosen.

    The owner's splits stay; where there is no validation, a part of training becomes it. Files without splits are
    divided: by people where these are known, else stratified by expression.

    Args:
        files: The files.
        expressions: What they show.
        option: `auto`, or `train` or `test` for all of them.

    Raises:
        DataError: A person stands in two splits.
    """
    if option == "test":
        return ["test"] * len(files), "all for testing"
    splits = [file.split if option == "auto" else "train" for file in files]
    by_people = any(file.person for file in files)
    parts = []
    if not any(splits):
        splits = _held_out(files, expressions, ["train"] * len(files), "test", TEST_FRACTION)
        parts.append(_held_out_part(splits, "test", f"{100 * TEST_FRACTION:.0f} % held out for testing"))
    if "validation" not in splits and "train" in splits:
        splits = _held_out(files, expressions, splits, "validation", VALIDATION_FRACTION)
        parts.append(
            _held_out_part(splits, "validation", f"{100 * VALIDATION_FRACTION:.0f} % of training for validation")
        )
    _refuse_divided_people(files, splits)
    if parts:
        parts.append("chosen by person" if by_people else "chosen by hashes of the names, as many of each expression")
    return splits, ", ".join(parts) or "split as its owner did"


def _held_out_part(splits: Sequence[str], part: str, text: str) -> str:
    """Return how a part was held out, or that it was not: of one person, or one picture a class, none can be."""
    return text if part in splits else f"none for {part}, as there are too few"


def _held_out(
    files: Sequence[LabelledFile],
    expressions: Sequence[str],
    splits: Sequence[str],
    part: str,
    fraction: float,
) -> list[str]:
    """Return the splits with a fraction of the training files moved to another part."""
    if any(file.person for file in files):
        # A file without a person stands for itself.
        groups = [file.person or file.source_name for file in files]
        in_training = [group for group, split in zip(groups, splits, strict=True) if split == "train"]
        chosen = held_out_groups(in_training, fraction, part)
    else:
        groups = [file.source_name for file in files]
        rows = zip(groups, expressions, splits, strict=True)
        chosen = held_out_names([(name, shown) for name, shown, split in rows if split == "train"], fraction, part)
    moved = []
    for group, split in zip(groups, splits, strict=True):
        moved.append(part if split == "train" and group in chosen else split)
    return moved


def _refuse_divided_people(files: Sequence[LabelledFile], splits: Sequence[str]) -> None:
    first: dict[str, str] = {}
    for file, split in zip(files, splits, strict=True):
        if file.person and first.setdefault(file.person, split) != split:
            raise DataError(
                f"person {quoted(file.person)} stands in {first[file.person]} and in {split}: keep each person in one "
                "split, or leave the splits out"
            )


def describe_scan(
    how: str,
    files: Sequence[LabelledFile],
    expressions: dict[str, str | None],
    result: Scan,
) -> str:
    """Return what was understood of a set: its classes, what they mean, its splits, and what is missing."""
    pictures = Counter(file.label for file in files)
    rows = [["class", "means", "pictures"]]
    # Of those that are left out the largest: who names a folder of people by mistake has hundreds.
    unused = sorted((label for label in expressions if not expressions[label]), key=lambda label: -pictures[label])
    rest = unused[LEFT_OUT_SHOWN:]
    for label, expression in expressions.items():
        if label not in rest:
            rows.append([label, expression or "left out", f"{pictures[label]:,}"])
    if rest:
        rows.append([f"{len(rest):,} more", "left out", f"{sum(pictures[label] for label in rest):,}"])
    lines = [how, text_table(rows)]
    counts = Counter(candidate.split for candidate in result.candidates)
    lines.append(", ".join(f"{split}: {counts[split]:,}" for split in SPLITS if counts[split]))
    shown = {candidate.expression for candidate in result.candidates if candidate.split == "train"}
    missing = [expression for expression in EXPRESSIONS if expression not in shown]
    if shown and missing:
        lines.append(f"no training picture shows {', '.join(missing)}: train on it beside a set that does, joined by +")
    tested = {candidate.expression for candidate in result.candidates if candidate.split == "test"}
    missing = [expression for expression in EXPRESSIONS if expression not in tested]
    if tested and missing:
        lines.append(f"no test picture shows {', '.join(missing)}: tests say nothing of them")
    return "\n".join(lines)
