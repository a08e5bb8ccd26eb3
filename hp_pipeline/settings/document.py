"""A YAML file as values that know their line and column.

The YAML is read to its nodes and no further: nodes have positions, show every repeated key at once, and
let the values of environment variables in without any of them becoming part of a message.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode
from ruamel.yaml.reader import ReaderError

from hp_pipeline.settings.mistakes import Mistake, quoted
from hp_pipeline.settings.model import EnvironmentText, KeyPath, format_key_path, nearest_word
from hp_pipeline.settings.sources import SECRET_KEYS

Position = tuple[int, int]
"""Line and column, both from 1."""

_MOST_NODES = 100_000
"""Far more than any settings have. Aliases of aliases can make a short file as large as one likes."""

_NULL = re.compile(r"|~|null|Null|NULL")
_TRUE = re.compile(r"true|True|TRUE")
_FALSE = re.compile(r"false|False|FALSE")
_INTEGER = re.compile(r"[-+]?[0-9]{1,18}", re.ASCII)
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", re.ASCII)
_VARIABLE = re.compile(r"\$(?:(\$)\{|\{([^}]*)\}?)")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_STRING_TAG = "tag:yaml.org,2002:str"

_SYNTAX = (
    ("cannot start any token", "a character that cannot start a value", "the text in quotes"),
    ("mapping values are not allowed", "a second colon", "one `key: value` on a line; a text with a colon in quotes"),
    ("could not find expected ':'", "a key without a colon", "`key: value`"),
    ("undefined alias", "an alias (*) that no anchor (&) defines", "a text that starts with * in quotes"),
    ("unexpected end of stream", "a quote that is not closed", "a closing quote"),
    ("another document", "a second document after ---", "one document"),
    ("unknown escape character", "an unknown escape in double quotes", "single quotes, or \\\\ for a backslash"),
    ("<block end>", "a line that does not fit the lines above it", "the same indentation for all keys of a mapping"),
    ("expected ',' or '}'", "a { that is not closed", "a closing }"),
    ("expected ',' or ']'", "a [ that is not closed", "a closing ]"),
)
"""What the parser says, and what it means. Its own words may quote the file, and with it a secret."""


@dataclass
class Document:
    """The values of a file, and where they are. `values` is None when the file could not be read."""

    file: str
    values: dict[Any, Any] | None = None
    mistakes: list[Mistake] = field(default_factory=list)
    key_positions: dict[KeyPath, Position] = field(default_factory=dict)
    value_positions: dict[KeyPath, Position] = field(default_factory=dict)
    written: dict[KeyPath, Any] = field(default_factory=dict)
    """Scalars as they are in the file, before any environment variable was put in."""
    variables: dict[str, str] = field(default_factory=dict)
    """The environment variables that the file uses, with their values."""

    def add(
        self, position: Position | None, key: KeyPath, found: str, allowed: str, nearest: str | None = None
    ) -> None:
        """Adds a mistake; without a position it is one of the file as a whole."""
        hidden = next((place for place, part in enumerate(key[:-1]) if part in SECRET_KEYS), None)
        if hidden is not None:
            # `token: {abc, abc}` repeats a key that is a piece of a secret.
            key, found, nearest = key[: hidden + 1], "a secret in plain text", None
        line, column = position or (None, None)
        self.mistakes.append(Mistake(self.file, line, column, format_key_path(key), found, allowed, nearest))

    def without_values(self, text: str) -> str:
        """`text` with the variables' names in place of their values."""
        for name, value in sorted(self.variables.items(), key=lambda pair: -len(pair[1])):
            # A value of one or two characters is no secret, and would tear words apart.
            for form in (value, repr(value)[1:-1], value.strip()) if len(value) > 3 else ():
                text = text.replace(form, f"${{{name}}}") if form else text
        return text

    def position(self, path: KeyPath, at_key: bool = False) -> Position:
        """Where the value at `path` starts, or its key, or else what is nearest above it."""
        while path:
            first, second = self.value_positions.get(path), self.key_positions.get(path)
            if at_key:
                first, second = second, first
            if found := first or second:
                return found
            path = path[:-1]
            at_key = False
        return self.value_positions.get((), (1, 1))


def read_document(path: Path, environment: Mapping[str, str]) -> Document:
    """The YAML file at `path`, with `${NAME}` replaced from `environment`.

    Never raises because of the file: `mistakes` of the result has what is wrong with it.
    """
    document = Document(str(path))
    text = _text(path, document)
    if text is not None and (root := _compose(text, document)) is not None:
        values = _Reader(document, environment).value(root, ())
        if isinstance(values, dict):
            document.values = values
        elif values is None:
            document.add((1, 1), (), "an empty file", "settings; hp.example.yaml explains them")
        else:
            document.add(document.position(()), (), _shape(root), "keys such as site:, heat_pumps: and sources:")
    return document


def _text(path: Path, document: Document) -> str | None:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        document.add(None, (), "no such file", "a settings file; hp.example.yaml is one to start from")
    except IsADirectoryError:
        document.add(None, (), "a folder", "a settings file")
    except OSError as error:
        document.add(None, (), f"a file that cannot be read ({error.strerror})", "a readable file")
    else:
        try:
            return content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            before = content[: error.start].decode("utf-8-sig", "replace")
            document.add(_end_of(before), (), "bytes that are not UTF-8", "text in UTF-8")
    return None


def _end_of(text: str) -> Position:
    return text.count("\n") + 1, len(text) - (text.rfind("\n") + 1) + 1


def _compose(text: str, document: Document) -> Node | None:
    """The root node; None after a mistake was added."""
    if not text.strip("\ufeff \t\r\n"):
        document.add((1, 1), (), "an empty file", "settings; hp.example.yaml explains them")
        return None
    try:
        yaml = YAML(typ="safe", pure=True)
        # The warning quotes the anchor, which is a secret that begins with &.
        yaml.composer.warn_double_anchors = False
        root: Node | None = yaml.compose(text)
    except ReaderError as error:
        document.add(_end_of(text[: error.position]), (), "a control character", "printable text")
    except MarkedYAMLError as error:
        problem = f"{error.problem} {error.context}"
        # What is not closed, or has no colon, is noticed far behind the place where it begins.
        begins = any(part in problem for part in ("expected ':'", "end of stream", "or '}'", "or ']'"))
        mark = error.context_mark if begins and error.context_mark else error.problem_mark
        position = (mark.line + 1, mark.column + 1) if mark else None
        if "'\\t'" in problem:
            _add_tabs(text, document, position)
        else:
            found, allowed = next(
                ((found, allowed) for part, found, allowed in _SYNTAX if part in problem),
                ("what is no YAML", "valid YAML"),
            )
            document.add(position, (), found, allowed)
    except (YAMLError, ValueError):
        document.add(None, (), "what is no YAML", "valid YAML")
    except RecursionError:
        document.add(None, (), "values nested too deeply", "the nesting that hp.example.yaml shows")
    else:
        if root is None:
            document.add((1, 1), (), "an empty file", "settings; hp.example.yaml explains them")
        return root
    return None


def _add_tabs(text: str, document: Document, position: Position | None) -> None:
    """Every line that a tab indents; the parser knows only the first one."""
    indented: list[Position | None] = [
        (number, line.index("\t") + 1)
        for number, line in enumerate(text.splitlines(), start=1)
        if "\t" in line[: len(line) - len(line.lstrip(" \t"))] and line.strip()
    ]
    for place in indented or [position]:
        document.add(place, (), "a tab", "spaces")


def _shape(node: Node) -> str:
    if isinstance(node, ScalarNode):
        return "a text"
    return "a mapping" if isinstance(node, MappingNode) else "a list"


class _Reader:
    """Turns nodes into values, and notes positions and mistakes in a document."""

    def __init__(self, document: Document, environment: Mapping[str, str]) -> None:
        self.document = document
        self.environment = environment
        self.nodes = 0
        self.open: list[Node] = []

    def value(self, node: Node, path: KeyPath) -> Any:
        place = (node.start_mark.line + 1, node.start_mark.column + 1)
        self.document.value_positions[path] = place
        self.nodes += 1
        if node in self.open or self.nodes > _MOST_NODES:
            if self.nodes <= _MOST_NODES + 1:
                self.document.add(place, path, "an alias that makes the file endless", "the values written out")
            return None
        if isinstance(node, ScalarNode):
            return self.scalar(node, path, place)
        tag = str(node.tag)
        if not tag.startswith("tag:yaml.org,2002:"):
            self.document.add(place, path, "a tag (!)", "a plain value")
        self.open.append(node)
        try:
            if isinstance(node, MappingNode):
                return self.mapping(node, path)
            return [self.value(item, (*path, index)) for index, item in enumerate(node.value)]
        finally:
            self.open.pop()

    def mapping(self, node: MappingNode, path: KeyPath) -> dict[Any, Any]:
        values: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            place = (key_node.start_mark.line + 1, key_node.start_mark.column + 1)
            if not isinstance(key_node, ScalarNode):
                self.document.add(place, path, f"{_shape(key_node)} as a key", "a word as a key")
                continue
            key = _resolve(key_node)
            if key == "<<" and key_node.style is None:
                self.document.add(place, path, "a merge key (<<)", "the keys written out")
                continue
            below = (*path, key)
            if key in values:
                line = self.document.key_positions[below][0]
                shown = quoted(str(key))
                self.document.add(place, below, f"{shown} again, which line {line} has already", "each key once")
                continue
            self.document.key_positions[below] = place
            values[key] = self.value(value_node, below)
        return values

    def scalar(self, node: ScalarNode, path: KeyPath, place: Position) -> Any:
        tag = str(node.tag)
        if not tag.startswith("tag:yaml.org,2002:"):
            secret = "${NAME}, and the secret in the environment variable NAME"
            allowed = secret if tag == "!secret" else "a plain value; a text that starts with ! in quotes"
            self.document.add(place, path, "a tag (!)", allowed)
            return node.value
        value = _resolve(node)
        self.document.written[path] = value
        return self.filled(value, path, place) if isinstance(value, str) and "$" in value else value

    def filled(self, text: str, path: KeyPath, place: Position) -> str:
        """`text` with the values of its environment variables; `$${` stands for a literal `${`."""

        def fill(match: re.Match[str]) -> str:
            if match[1]:
                return "${"
            name = match[2]
            if not _NAME.fullmatch(name) or not match[0].endswith("}"):
                # The text in the braces may be a secret that somebody put there instead of a name.
                self.document.add(
                    place, path, "${…} without the plain name of a variable", "${NAME}; $${ for a literal ${"
                )
                return match[0]
            value = self.environment.get(name, "")
            if value:
                self.document.variables[name] = value
                return value
            state = "is set but empty" if name in self.environment else "is not set"
            near = nearest_word(name, [known for known in self.environment if known != name])
            self.document.add(
                place,
                path,
                f"${{{name}}}, and the environment variable {name} {state}",
                f"a variable that is set: export {name}=…",
                f"${{{near}}}" if near else None,
            )
            return match[0]

        filled = _VARIABLE.sub(fill, text)
        alone = re.fullmatch(r"\$\{[A-Za-z0-9_]+\}", text, re.ASCII)
        return EnvironmentText(filled) if alone else filled


def _resolve(node: ScalarNode) -> Any:
    """The value of a scalar by YAML 1.2's core schema, without its octal and hexadecimal numbers."""
    text = str(node.value)
    if node.style is not None or str(node.tag) == _STRING_TAG:
        return text
    for pattern, value in ((_NULL, None), (_TRUE, True), (_FALSE, False)):
        if pattern.fullmatch(text):
            return value
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) else text
