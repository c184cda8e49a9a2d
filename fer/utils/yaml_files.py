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
        if not path.is_file():
            raise _Fault(" is no file")  # a pipe would be waited for
        with path.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise _Fault(f" cannot be read: {error.strerror}") from None
    except (RuntimeError, ValueError) as error:  # no such home folder, or a zero byte
        raise _Fault(f" cannot be read: {error}") from None
    if len(content) > MAX_BYTES:
        raise _Fault(f" is larger than {MAX_BYTES} bytes: leave out what is not an option")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise _Fault(f" line {line} is no UTF-8 text: save it as UTF-8") from None


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
    except (yaml.YAMLError, ArithmeticError, ValueError) as error:  # the last two of signs that no text can hold
        raise _Fault(f" is not plain YAML: {shortened(str(error))}") from None


def _refused(reason: str, mark: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=reason, problem_mark=mark)


def _plain_resolvers() -> dict[str, Any]:
    """Return PyYAML's rules that tell values apart by their first sign, those of other kinds left out."""
    plain = {}
    for sign, rules in yaml.SafeLoader.yaml_implicit_resolvers.items():
        plain[sign] = [(tag, pattern) for tag, pattern in rules if tag.rpartition(":")[2] in PLAIN]
    return plain


class _PlainLoader(yaml.SafeLoader):
    """PyYAML's safe loader, without what `read_yaml` refuses."""

    yaml_implicit_resolvers = _plain_resolvers()
    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        # Before anything is composed: an alias repeats all that its anchor holds.
        if event.anchor is not None:
            raise _refused("anchors and aliases (& and *) are not read, so write the value itself", event.start_mark)
        if event.tag is not None:
            raise _refused("tags (!) are not read, so write the value alone", event.start_mark)
        if self._depth == MAX_DEPTH:
            raise _refused(f"it is nested more than {MAX_DEPTH} deep", event.start_mark)
        if isinstance(event, yaml.ScalarEvent):
            _check_text(event)
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        if isinstance(node, yaml.MappingNode):
            _refuse_doubled(node)
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ArithmeticError, LookupError, ValueError):
            raise _refused(f"{quoted(node.value)} is no number", node.start_mark) from None


def _check_text(event: yaml.ScalarEvent) -> None:
    if len(event.value) > MAX_TEXT:
        raise _refused(f"a value is longer than {MAX_TEXT} characters", event.start_mark)
    # Escapes can write what no file's name and no record can hold.
    if "\0" in event.value or any("\ud800" <= sign <= "\udfff" for sign in event.value):
        raise _refused(f"{quoted(event.value)} is no text", event.start_mark)


def _refuse_doubled(node: yaml.MappingNode) -> None:
    keys = set()
    for key, _ in node.value:
        if isinstance(key, yaml.ScalarNode):
            if key.value in keys:
                raise _refused(f"the key {quoted(key.value)} stands a second time", key.start_mark)
            keys.add(key.value)
