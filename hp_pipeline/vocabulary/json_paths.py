"""Paths into a JSON document, as an owner writes them: `status.boiler[0].temperature`.

A step is a key, `[0]` (an element of a list) or, in quotes, a key with other signs: `["a.b"]`. `*` stands for every
key, `[*]` for every element, and `**`, as the last step, for every value below. `$.` may stand in front.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

JsonValue = None | bool | int | float | str | list["JsonValue"] | dict[str, "JsonValue"]


class Wild(Enum):
    """Steps that stand for several."""

    KEYS = "*"
    ELEMENTS = "[*]"
    BELOW = "**"


Step = str | int | Wild
DEEPEST = 32
"""Values nested deeper than this are not looked for."""

_PLAIN = re.compile(r"[^.\[\]\"*\s](?:[^.\[\]\"*\r\n\t]*[^.\[\]\"*\s])?")
_BRACKET = re.compile(r"\[(?:([0-9]{1,9})|(\*)|(\"(?:[^\"\\]|\\.)*\"))\]")


@dataclass(frozen=True)
class JsonPath:
    """A path: `steps` from the document's root."""

    steps: tuple[Step, ...]

    def __str__(self) -> str:
        text = ""
        for step in self.steps:
            if isinstance(step, int):
                text += f"[{step}]"
            elif step is Wild.ELEMENTS:
                text += step.value
            else:
                word = step.value if isinstance(step, Wild) else step
                plain = isinstance(step, Wild) or (_PLAIN.fullmatch(word) and word != "$")
                text += (f".{word}" if text else word) if plain else f"[{json.dumps(word)}]"
        return text

    @property
    def is_wild(self) -> bool:
        """Whether it may lead to several values."""
        return any(isinstance(step, Wild) for step in self.steps)

    def find(self, document: JsonValue) -> Iterator[tuple[str, JsonValue]]:
        """Every value that the path leads to, with the path that leads to it alone."""
        for steps, value in _find(document, self.steps, ()):
            yield str(JsonPath(steps)), value


EVERYTHING = JsonPath((Wild.BELOW,))
"""Every value of a document."""


def parse_json_path(text: str) -> JsonPath:
    """Read a path.

    Raises:
        ValueError: what is wrong with it, and where.
    """
    rest = text[1:].removeprefix(".") if text == "$" or text.startswith(("$.", "$[")) else text
    steps: list[Step] = []
    while rest:
        if bracket := _BRACKET.match(rest):
            number, wild, quoted = bracket.groups()
            steps.append(int(number) if number else Wild.ELEMENTS if wild else _unquoted(quoted))
            rest = rest[bracket.end() :]
        else:
            head = re.match(r"\*\*|\*|[^.\[]+", rest)
            word = head[0] if head else ""
            if word in ("*", "**"):
                steps.append(Wild(word))
            elif _PLAIN.fullmatch(word):
                steps.append(word)
            else:
                raise ValueError(f'{rest!r} is no step of a path: status.temperature, list[0], ["a.b"], * or **')
            rest = rest[len(word) :]
        if rest.startswith(".") and len(rest) > 1 and rest[1] != "[":
            rest = rest[1:]
        elif rest and not rest.startswith("["):
            raise ValueError(f"{rest!r} does not go on: a key follows a point, brackets follow directly")
    if not steps:
        raise ValueError("a path names at least one key, such as status.temperature")
    if Wild.BELOW in steps[:-1]:
        raise ValueError("** stands last: it is every value below")
    return JsonPath(tuple(steps))


def _unquoted(quoted: str) -> str:
    try:
        word = json.loads(quoted)
    except ValueError:
        raise ValueError(f"{quoted} is no text in quotes as in JSON") from None
    return str(word)


def _find(
    value: JsonValue, steps: tuple[Step, ...], walked: tuple[Step, ...]
) -> Iterator[tuple[tuple[Step, ...], JsonValue]]:
    if len(walked) > DEEPEST:
        return
    if not steps:
        yield walked, value
        return
    step, rest = steps[0], steps[1:]
    if step is Wild.BELOW:
        if isinstance(value, dict | list):
            for key, below in _children(value):
                yield from _find(below, steps, (*walked, key))
        elif walked:
            yield walked, value
    elif step is Wild.KEYS or step is Wild.ELEMENTS:
        if isinstance(value, dict if step is Wild.KEYS else list):
            for key, below in _children(value):
                yield from _find(below, rest, (*walked, key))
    elif isinstance(step, int):
        if isinstance(value, list) and step < len(value):
            yield from _find(value[step], rest, (*walked, step))
    elif isinstance(value, dict) and step in value:
        yield from _find(value[step], rest, (*walked, step))


def _children(value: JsonValue) -> Iterator[tuple[Step, JsonValue]]:
    if isinstance(value, dict):
        yield from value.items()
    elif isinstance(value, list):
        yield from enumerate(value)
