"""From YAML text to :class:`Node`, from the parser's events.

Parsing by event keeps every line number, sees a duplicate key, an alias and a tag before anything is built, and stops
at the first one too many: of a hostile file only its beginning is ever read.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from priprune_plugins.errors import ScenarioError
from priprune_plugins.scenario.nodes import Node
from priprune_plugins.scenario.scalars import plain_scalar
from priprune_plugins.wording import shown

MAX_BYTES = 1_000_000
MAX_DEPTH = 20
MAX_KEY = 100
MAX_VALUES = 50_000
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def read_yaml(path: Path) -> Node:
    """Return the file's mapping.

    Raises:
        ScenarioError: One line with file and line: not a readable file of at most 1 MB of UTF-8, wrong YAML, or a top
            level that is no mapping.
    """
    node = parse_yaml(_text(path), str(path))
    if node.value is None:
        raise ScenarioError(f"{path}:1: the file is empty; a scenario needs data, model, algorithm and rounds")
    if not isinstance(node.value, dict):
        raise ScenarioError(f"{node.place}: the top level must be a mapping of keys, got {shown(node.plain())}")
    return node


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ScenarioError(f"{path}: cannot be read: {error.strerror}; give a YAML file") from error
    if len(data) > MAX_BYTES:
        raise ScenarioError(f"{path}:1: a scenario must have at most {MAX_BYTES:,} bytes; this file has more")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        wrong = f"byte 0x{data[error.start]:02x}"
        raise ScenarioError(f"{path}:{line}: the file must be UTF-8, got {wrong}; save it as UTF-8") from error


def parse_yaml(text: str, file: str, whole: str | None = None) -> Node:
    """Return the value of a YAML text.

    Args:
        text: One YAML document; none is null.
        file: How places name it.
        whole: One place for every value, instead of ``file:line``.

    Raises:
        ScenarioError: The text is no YAML, or more than a scenario may hold.
    """
    bad = _UNPRINTABLE.search(text)
    if bad is not None:
        place = whole or f"{file}:{text.count(chr(10), 0, bad.start()) + 1}"
        raise ScenarioError(f"{place}: character U+{ord(bad[0]):04X} is not allowed in YAML; remove it")
    events: Iterator[Any] = iter(yaml.parse(text, Loader=_Loader))
    return _Builder(events, file, whole).document()


class _Builder:
    def __init__(self, events: Iterator[Any], file: str, whole: str | None) -> None:
        self._events = events
        self._file = file
        self._whole = whole
        self._anchors: dict[str, Node | None] = {}
        self._values = 0

    def document(self) -> Node:
        self._next()
        if isinstance(self._next(), yaml.StreamEndEvent):
            return Node(None, self._whole or f"{self._file}:1")
        node = self._node(self._next(), 0)
        self._next()
        end = self._next()
        if not isinstance(end, yaml.StreamEndEvent):
            raise self._error(end, "a second document begins; a scenario is one document")
        return node

    def _next(self) -> Any:
        try:
            return next(self._events)
        except yaml.MarkedYAMLError as error:
            what = " ".join(filter(None, (error.context, error.problem)))
            raise ScenarioError(f"{self._place(error.problem_mark)}: wrong YAML: {what}") from error

    def _place(self, mark: Any) -> str:
        return self._whole or f"{self._file}:{mark.line + 1 if mark else 1}"

    def _error(self, event: Any, what: str) -> ScenarioError:
        return ScenarioError(f"{self._place(event.start_mark)}: {what}")

    def _node(self, event: Any, depth: int) -> Node:
        if isinstance(event, yaml.AliasEvent):
            node = self._alias(event)
        else:
            if event.tag is not None:
                raise self._error(event, f"tags are not allowed, got {shown(event.tag)}; write the plain value")
            if event.anchor is not None:
                self._anchors[event.anchor] = None
            node = self._value(event, depth)
            if event.anchor is not None:
                self._anchors[event.anchor] = node
        self._count(event, node.size if isinstance(event, yaml.AliasEvent) else 1)
        return node

    def _count(self, event: Any, values: int) -> None:
        self._values += values
        if self._values > MAX_VALUES:
            raise self._error(event, f"more than {MAX_VALUES:,} values, aliases counted each time; write less")

    def _alias(self, event: Any) -> Node:
        node = self._anchors.get(event.anchor)
        if node is None:
            known = "is used inside itself" if event.anchor in self._anchors else "has no anchor before it"
            raise self._error(event, f"alias {shown(event.anchor)} {known}")
        return replace(node, place=self._place(event.start_mark))

    def _value(self, event: Any, depth: int) -> Node:
        place = self._place(event.start_mark)
        if isinstance(event, yaml.ScalarEvent):
            try:
                return Node(plain_scalar(event.value) if event.implicit[0] else event.value, place)
            except ValueError as error:
                raise self._error(event, str(error)) from error
        if depth == MAX_DEPTH:
            raise self._error(event, f"nested deeper than {MAX_DEPTH} levels; a scenario needs 5")
        return (
            self._sequence(place, depth) if isinstance(event, yaml.SequenceStartEvent) else self._mapping(place, depth)
        )

    def _sequence(self, place: str, depth: int) -> Node:
        items = []
        while not isinstance(event := self._next(), yaml.SequenceEndEvent):
            items.append(self._node(event, depth + 1))
        return Node(items, place, 1 + sum(item.size for item in items))

    def _mapping(self, place: str, depth: int) -> Node:
        entries: dict[str, Node] = {}
        while not isinstance(event := self._next(), yaml.MappingEndEvent):
            key = self._key(event, entries)
            # The place of a value is the line of its key, where an editor's reader looks for it.
            entries[key] = replace(self._node(self._next(), depth + 1), place=self._place(event.start_mark))
        return Node(entries, place, 1 + sum(entry.size for entry in entries.values()))

    def _key(self, event: Any, entries: dict[str, Node]) -> str:
        if not isinstance(event, yaml.ScalarEvent) or event.tag is not None:
            raise self._error(event, "a key must be plain text; write key: value")
        key = str(event.value)
        if len(key) > MAX_KEY or not key.isprintable():
            raise self._error(event, f"a key must be printable and at most {MAX_KEY} long, got {shown(key)}")
        if key == "<<" and event.implicit[0]:
            raise self._error(event, "merge keys (<<) are not supported; write the keys out, or use include")
        if key in entries:
            raise self._error(event, f"duplicate key {shown(key)}, first at {entries[key].place}; keep one")
        return key
