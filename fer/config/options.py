"""Configuration dataclasses: declaring options, and building one from defaults, a YAML file and given values."""

import math
from collections.abc import Mapping
from dataclasses import MISSING, Field, field, fields
from typing import Any, TypeVar

from fer.errors import LONGEST_PATH, ConfigError, quoted, quoted_path, shortened, unknown_name
from fer.utils.yaml_files import read_yaml

C = TypeVar("C")


def option(
    default: Any, help: str, *, choices: tuple[str, ...] = (), low: float = -math.inf, high: float = math.inf
) -> Any:
    """Declare one field of a command's configuration.

    Args:
        default: The field's value when nothing is given.
        help: One line for `--help` and the README.
        choices: The values allowed, for a text field; empty for free text.
        low: The smallest number allowed.
        high: The largest number allowed.
    """
    return field(default=default, metadata={"help": help, "choices": choices, "low": low, "high": high})


def default_of(item: "Field[Any]") -> Any:
    """Return a configuration field's default."""
    assert item.default is not MISSING
    return item.default


def build(
    cls: type[C], given: Mapping[str, Any], *, file: str = "", section: str = "", yields_default: bool = False
) -> C:
    """Join defaults, a YAML file and given options into one checked configuration.

    Args:
        cls: The command's dataclass.
        given: Options by name, as text or as the field's type.
        file: A YAML file of the same keys; empty for none.
        section: The key of the file under which they stand; empty: they are the file's own.
        yields_default: A given value equal to the default gives way to the file's. `mlflow run` passes the
            defaults of MLproject as if a person had typed them, so there only a differing value can override a file.

    Raises:
        ConfigError: An unknown key, a wrong type, a value out of range, or a file that is missing or no mapping.
    """
    known = {item.name: item for item in fields(cls)}  # type: ignore[arg-type]
    values = {
        key: _value(known, key, raw, f"in {shortened(file, LONGEST_PATH)}")
        for key, raw in _options_in(file, section).items()
    }
    for key, raw in given.items():
        value = _value(known, key, raw, "")
        if not (yields_default and key in values and value == default_of(known[key])):
            values[key] = value
    if file:
        values["config"] = file
    return cls(**values)


def _options_in(file: str, section: str) -> dict[str, Any]:
    content = read_yaml(file) if file else {}
    if section:
        options = {} if content[section] is None else content[section]
        if not isinstance(options, dict) or not all(isinstance(key, str) for key in options):
            raise ConfigError(f"{section} in {quoted_path(file)} must hold lines such as 'epochs: 30'")
        return options
    if stages := [key for key, value in content.items() if isinstance(value, dict)]:
        raise ConfigError(
            f"config {quoted_path(file)} describes stages ({shortened(', '.join(stages))}): "
            f"run it as an experiment, name={shortened(file, LONGEST_PATH)}"
        )
    return content


def _value(known: "dict[str, Field[Any]]", key: str, raw: Any, where: str) -> Any:
    """Check one value and return it in its field's type."""
    if where and key == "config":
        raise ConfigError(f"config {where}: a file cannot name another one")
    if key not in known:
        raise ConfigError(f"{unknown_name('option', key, known)} {where}".rstrip())
    item = known[key]
    try:
        value = _PARSERS[item.type](raw)
    except (TypeError, ValueError, OverflowError):
        expected = _NAMES[item.type]
        raise ConfigError(f"{key} {where}".rstrip() + f" must be {expected}, not {quoted(raw)}") from None
    choices = item.metadata["choices"]
    if choices and value not in choices:
        raise ConfigError(unknown_name(f"{key} {where}".rstrip(), value, choices))
    low, high = item.metadata["low"], item.metadata["high"]
    for number in value if isinstance(value, tuple) else (value,):
        if isinstance(number, int | float) and not low <= number <= high:
            limits = f"at least {low:g}" if high == math.inf else f"between {low:g} and {high:g}"
            raise ConfigError(f"{key} {where}".rstrip() + f" must be {limits}, not {shortened(str(raw))}")
    return value


def _text(raw: Any) -> str:
    if not isinstance(raw, str):
        raise TypeError
    return raw


def _integer(raw: Any) -> int:
    if isinstance(raw, str) or (isinstance(raw, int) and not isinstance(raw, bool)):
        number = int(raw)
        if abs(number) >= 2**63:
            raise OverflowError
        return number
    raise TypeError


def _number(raw: Any) -> float:
    # YAML 1.1 reads "1e-3" as text, so text that is a number counts as one.
    if isinstance(raw, bool) or not isinstance(raw, str | int | float):
        raise TypeError
    if not math.isfinite(value := float(raw)):
        raise ValueError
    return value


def _boolean(raw: Any) -> bool:
    if isinstance(raw, bool):
        return raw
    if _text(raw).lower() not in ("true", "false"):
        raise ValueError
    return bool(raw.lower() == "true")


def _numbers(raw: Any) -> tuple[float, ...]:
    if not isinstance(raw, str | list | tuple):
        raise TypeError
    items = [part for part in raw.split(",") if part.strip()] if isinstance(raw, str) else raw
    return tuple(_number(item) for item in items)


_PARSERS: dict[Any, Any] = {
    str: _text,
    int: _integer,
    float: _number,
    bool: _boolean,
    tuple[float, ...]: _numbers,
}
_NAMES: dict[Any, str] = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    tuple[float, ...]: "numbers joined by commas",
}
