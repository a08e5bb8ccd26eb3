"""How a series of a source is named (its *point*) and how a selector finds it.

A point is the source's own name of a series. For InfluxDB and line protocol it is
`measurement,tag=value,tag2=value2 field` with the tags sorted and line protocol's escapes; anything else
(a column of a CSV file, a register's name) is a plain name.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache

_UNESCAPED_COMMA = re.compile(r"(?<!\\),")
_UNESCAPED_EQUALS = re.compile(r"(?<!\\)=")
_UNESCAPED_SPACE = re.compile(r"(?<!\\) ")


@dataclass(frozen=True)
class Series:
    """The parts of an InfluxDB point."""

    measurement: str
    tags: Mapping[str, str]
    field: str


def _escape(text: str, characters: str) -> str:
    return re.sub(f"([{characters}])", r"\\\1", text)


def _unescape(text: str) -> str:
    return re.sub(r"\\([,= ])", r"\1", text)


def series_point(measurement: str, tags: Mapping[str, str], field: str) -> str:
    """The point of an InfluxDB series: `measurement,tag=value field`, tags sorted, escaped as in line protocol."""
    parts = [_escape(measurement, ", ")]
    parts += [f"{_escape(key, ',= ')}={_escape(tags[key], ',= ')}" for key in sorted(tags)]
    return f"{','.join(parts)} {_escape(field, ',= ')}"


@lru_cache(maxsize=10_000)
def parse_point(point: str) -> Series | None:
    """The parts of an InfluxDB point, or None for a plain name."""
    head, space, last = point.partition(" ") if "\\" not in point else _split_escaped(point)
    if not space or " " in last.replace("\\ ", ""):
        return None
    measurement, *pairs = _UNESCAPED_COMMA.split(head)
    tags = {}
    for pair in pairs:
        key_and_value = _UNESCAPED_EQUALS.split(pair, maxsplit=1)
        if len(key_and_value) != 2:
            return None
        tags[_unescape(key_and_value[0])] = _unescape(key_and_value[1])
    return Series(_unescape(measurement), tags, _unescape(last))


def _split_escaped(point: str) -> tuple[str, str, str]:
    parts = _UNESCAPED_SPACE.split(point, maxsplit=1)
    return (parts[0], " ", parts[1]) if len(parts) == 2 else (point, "", "")


def _accepts(pattern: str, text: str) -> bool:
    if len(pattern) > 2 and pattern.startswith("/") and pattern.endswith("/"):
        return re.search(pattern[1:-1], text) is not None
    return pattern == text


@dataclass(frozen=True)
class Selector:
    """Finds the points of a signal: every part that is given must agree.

    A part written `/…/` is a regular expression (searched), any other is compared exactly. `point` is the whole
    point; `measurement`, `field` and `tags` are the parts of an InfluxDB series. `times` is what numbers of these
    points are multiplied with, besides the factor of the signal, where their scale is another one than its.
    """

    point: str | None = None
    measurement: str | None = None
    field: str | None = None
    tags: Mapping[str, str] = dataclasses.field(default_factory=dict)
    times: float = 1.0

    def matches(self, point: str) -> bool:
        """Whether this point is one that the selector names."""
        if self.point is not None and not _accepts(self.point, point):
            return False
        if not self.names_series:
            return self.point is not None
        series = parse_point(point)
        return (
            series is not None
            and (self.measurement is None or _accepts(self.measurement, series.measurement))
            and (self.field is None or _accepts(self.field, series.field))
            and all(key in series.tags and _accepts(value, series.tags[key]) for key, value in self.tags.items())
        )

    @cached_property
    def names_series(self) -> bool:
        """Whether it names parts of an InfluxDB series, so that a database can be asked for it."""
        return self.measurement is not None or self.field is not None or bool(self.tags)
