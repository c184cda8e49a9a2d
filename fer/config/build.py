"""Build a command's configuration from its defaults, a YAML file and given values, all checked."""

import math
from collections.abc import Mapping
from dataclasses import Field, fields
from typing import Any, TypeVar

from fer.errors import (
    LONGEST_PATH,
    ConfigError,
    quoted,
    quoted_path,
    shortened,
    unknown_name,
)

C = TypeVar("C")


def build(
    cls: type[C],
    given: Mapping[str, Any],
    *,
    file: str = "",
    section: str = "",
    instead: Mapping[str, Any] | None = None,
    yields_default: bool = False,
) -> C:
    """Join defaults, a YAML file and given options into one checked configuration.

    Args:
        cls: The command's dataclass.
        given: Options by name, as text or as the field's type.
        file: A YAML file of the same keys; empty for none.
        section: The key of the file under which they stand; empty: they are the file's own.
        instead: What stands for values of the file, such as one of a list of them.
        yields_default: A given value equal to the default gives way to the file's. `mlflow run` passes the
            defaults of MLproject as if a person had typed them, so there only a differing value can override a file.

    Raises:
        ConfigError: An unknown key, a wrong type, a value out of range, or a file that is missing or no mapping.
    """
    known = {item.name: item for item in fields(cls)}  # type: ignore[arg-type]
    in_file = f"in {shortened(file, LONGEST_PATH)}"
    written = {**_read_options(file, section), **(instead or {})}
    _refuse_several_starts(written, file)
    values = {key: _check(known, key, raw, in_file) for key, raw in written.items()}
    for key, raw in given.items():
        # Checked even where it gives way: a wrong value must never pass unnoticed.
        value = _check(known, key, raw, "")
        yields = yields_default and key in values and value == known[key].default
        if not yields:
            values[key] = value
    if file:
        values["config"] = file
    return cls(**values)


def _read_options(file: str, section: str) -> dict[str, Any]:
    """Return the options of a YAML file, or of one of its sections.

    Raises:
        ConfigError: The file cannot be read, or holds sections where options are expected.
    """
    content: dict[str, Any] = {}
    if file:
        # Most calls name no file, and PyYAML is not free.
        from fer.utils.yaml_files import read_yaml

        content = read_yaml(file)
    if section:
        options = {} if content[section] is None else content[section]
        if not isinstance(options, dict) or not all(isinstance(key, str) for key in options):
            raise ConfigError(f"{section} in {quoted_path(file)} must hold lines such as 'epochs: 30'")
        return options
    stages = [key for key, value in content.items() if isinstance(value, dict)]
    if stages:
        raise ConfigError(
            f"config {quoted_path(file)} describes stages ({shortened(', '.join(stages))}): "
            f"run it as an experiment, name={shortened(file, LONGEST_PATH)}"
        )
    return content


def _refuse_several_starts(written: Mapping[str, Any], file: str) -> None:
    """Refuse a list of starting weights, of which a command other than `experiment` takes one.

    Raises:
        ConfigError: There is one.
    """
    init = written.get("init")
    if isinstance(init, list):
        raise ConfigError(
            f"init in {quoted_path(file)} lists {len(init)} starting weights: give one, or run a "
            f"file of finetune alone as an experiment, name={shortened(file, LONGEST_PATH)}"
        )


def _check(known: "dict[str, Field[Any]]", key: str, raw: Any, where: str) -> Any:
    """Return one value in its field's type.

    Args:
        known: The configuration's fields by name.
        key: The field's name.
        raw: The value as given.
        where: The file it stands in, for messages; empty for the command line.

    Raises:
        ConfigError: The key is unknown, or the value has another type or is out of range.
    """
    if where and key == "config":
        raise ConfigError(f"config {where}: a file cannot name another one")
    if key not in known:
        raise ConfigError(f"{unknown_name('option', key, known)} {where}".rstrip())
    item = known[key]
    named = f"{key} {where}".rstrip()
    parse, expected = _TYPES[item.type]
    try:
        value = parse(raw)
    except (KeyError, TypeError, ValueError, OverflowError):
        raise ConfigError(f"{named} must be {expected}, not {quoted(raw)}") from None
    choices = item.metadata["choices"]
    if choices and value not in choices:
        raise ConfigError(unknown_name(named, value, choices))
    low, high = item.metadata["low"], item.metadata["high"]
    numbers = value if isinstance(value, tuple) else (value,)
    for number in numbers:
        if isinstance(number, int | float) and not low <= number <= high:
            limits = f"at least {low:g}" if high == math.inf else f"between {low:g} and {high:g}"
            raise ConfigError(f"{named} must be {limits}, not {shortened(str(raw))}")
    return value


def _text(raw: Any) -> str:
    if not isinstance(raw, str):
        raise TypeError
    return raw


def _integer(raw: Any) -> int:
    # Python counts a bool as an int, but `epochs: true` is a slip.
    if isinstance(raw, bool) or not isinstance(raw, str | int):
        raise TypeError
    number = int(raw)
    # The tracking store keeps no longer numbers.
    if abs(number) >= 2**63:
        raise OverflowError
    return number


def _number(raw: Any) -> float:
    # YAML 1.1 reads "1e-3" as text, so text that is a number counts as one.
    if isinstance(raw, bool) or not isinstance(raw, str | int | float):
        raise TypeError
    number = float(raw)
    if not math.isfinite(number):
        raise ValueError
    return number


def _boolean(raw: Any) -> bool:
    if isinstance(raw, bool):
        return raw
    return {"true": True, "false": False}[_text(raw).lower()]


def _numbers(raw: Any) -> tuple[float, ...]:
    if isinstance(raw, str):
        raw = [part for part in raw.split(",") if part.strip()]
    if not isinstance(raw, list | tuple):
        raise TypeError
    return tuple(_number(item) for item in raw)


_TYPES: dict[Any, Any] = {
    str: (_text, "text"),
    int: (_integer, "a whole number"),
    float: (_number, "a number"),
    bool: (_boolean, "true or false"),
    tuple[float, ...]: (_numbers, "numbers joined by commas"),
}
"""How each type of field is parsed, and what a message calls it."""
