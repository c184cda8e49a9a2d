"""YAML files of plain values, read so that no file hangs, fills the memory or means more than it shows."""

from pathlib import Path
from typing import Any

import yaml

from fer.errors import ConfigError, quoted, quoted_path, shortened

MAX_BYTES = 50_000
MAX_DEPTH = 10
MAX_TEXT = 1000
"""Bounds of a file: its size, its nesting, and the characters of one value."""
PLAIN = ("bool", "float", "int", "null")
"""Kinds of values that are told apart from text."""


def read_yaml(file: str) -> dict[str, Any]:
    """Read a YAML file of named plain values: text, numbers, true, false, null, and lists and mappings of them.

    Anchors and aliases are refused, because few of them expand without bound, and so are tags, doubled keys, deep
    nesting and large files. Dates stay text. An empty file holds nothing.

    Args:
        file: Its path.

    Raises:
        ConfigError: The file is missing, unreadable or something else.
    """
    try:
        content = _parsed(_text_of(file))
    except _Fault as fault:
        raise ConfigError(f"config {quoted_path(file)}{fault}") from None
    if content is None:
        return {}
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise ConfigError(f"config {quoted_path(file)} must hold lines such as 'epochs: 30'")
    return content


class _Fault(Exception):
    """What is wrong with a file: a sentence without its beginning, which names the file."""


def _text_of(file: str) -> str:
    """Return a file's text.

    Raises:
        _Fault: It is missing, unreadable or too large.
    """
    try:
        path = Path(file).expanduser()
        if not path.exists():
            raise _Fault(": there is no such file")
        # A pipe would be waited for, and a device may never end.
        if not path.is_file():
            raise _Fault(" is no regular file")
        with path.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise _Fault(f" cannot be read: {error.strerror}") from None
    # No such home folder, or a zero byte in the name.
    except (RuntimeError, ValueError) as error:
        raise _Fault(f" cannot be read: {error}") from None
    if len(content) > MAX_BYTES:
        raise _Fault(f" is larger than {MAX_BYTES} bytes: leave out what is not an option")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        raise _Fault(" is no UTF-8 text: save it as UTF-8") from None


def _parsed(text: str) -> Any:
    """Return what a YAML text holds.

    Raises:
        _Fault: It is not plain YAML.
    """
    try:
        return yaml.load(text, _PlainLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f" line {mark.line + 1}" if mark else ""
        reason = error.problem or error.context or "it cannot be understood"
        raise _Fault(f"{line} is not plain YAML: {shortened(reason)}") from None
    # The others come from PyYAML's own reading of numbers such as `0x_`.
    except (yaml.YAMLError, ArithmeticError, LookupError, ValueError) as error:
        raise _Fault(f" is not plain YAML: {shortened(str(error))}") from None


def _plain_resolvers() -> dict[str, Any]:
    """Return PyYAML's rules that tell values apart by their first sign, those of other kinds left out."""
    plain = {}
    for sign, rules in yaml.SafeLoader.yaml_implicit_resolvers.items():
        # A tag is an address such as `tag:yaml.org,2002:int`.
        plain[sign] = [(tag, pattern) for tag, pattern in rules if tag.rpartition(":")[2] in PLAIN]
    return plain


class _PlainLoader(yaml.SafeLoader):
    """PyYAML's safe loader, without what `read_yaml` refuses."""

    yaml_implicit_resolvers = _plain_resolvers()
    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        # Before anything is composed: an alias repeats all that its anchor holds, and Python's stack bounds the depth.
        fault = _fault_of(event)
        if self._depth == MAX_DEPTH:
            fault = f"it is nested more than {MAX_DEPTH} deep"
        if fault:
            raise yaml.MarkedYAMLError(problem=fault, problem_mark=event.start_mark)
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        if isinstance(node, yaml.MappingNode):
            _refuse_doubled(node)
        return node


def _fault_of(event: Any) -> str:
    """Return why one value is no plain one, or an empty text."""
    if event.anchor is not None:
        return "anchors and aliases (& and *) are not read, so write the value itself"
    if event.tag is not None:
        return "tags (!) are not read, so write the value alone"
    text = event.value if isinstance(event, yaml.ScalarEvent) else ""
    if len(text) > MAX_TEXT:
        return f"a value is longer than {MAX_TEXT} characters"
    # Escapes can write what no file's name and no record can hold.
    if "\0" in text or any("\ud800" <= sign <= "\udfff" for sign in text):
        return f"{quoted(text)} is no text"
    return ""


def _refuse_doubled(node: yaml.MappingNode) -> None:
    """Refuse a key that stands twice, of which PyYAML would take the last."""
    keys = set()
    for key, _ in node.value:
        if isinstance(key, yaml.ScalarNode):
            if key.value in keys:
                fault = f"the key {quoted(key.value)} stands a second time"
                raise yaml.MarkedYAMLError(problem=fault, problem_mark=key.start_mark)
            keys.add(key.value)
