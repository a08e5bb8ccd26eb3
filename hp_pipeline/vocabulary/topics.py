"""MQTT topics: filters with wildcards, regular expressions over topics, and how a topic becomes a point.

A point of MQTT is the topic itself or what an owner's template makes of it; a value within a JSON payload has its
path behind `#`, which no topic can contain: `stove/status`, `stove/status#boiler.temperature`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

PATH_MARK = "#"
"""Between the topic and the path of a value in a JSON payload."""

_MOST_BYTES = 65_535


def check_filter(text: str) -> None:
    """Refuse what a broker would refuse.

    Raises:
        ValueError: what is wrong with the filter.
    """
    if not text or "\0" in text or len(text.encode("utf-8", "replace")) > _MOST_BYTES:
        raise ValueError("a topic is a text of 1 to 65535 bytes")
    levels = text.split("/")
    for index, level in enumerate(levels):
        if "#" in level and (level != "#" or index != len(levels) - 1):
            raise ValueError("# stands alone in the last level: house/#")
        if "+" in level and level != "+":
            raise ValueError("+ stands alone in a level: house/+/power. A pattern says more than that")


def filter_expression(text: str) -> re.Pattern[str]:
    """The filter as a regular expression for whole topics; each wildcard is a group, in order.

    `a/#` also stands for `a` itself (its group is then empty), and a wildcard in the first level does not stand for
    the broker's own topics, which begin with `$`: both as in the MQTT standard.
    """
    check_filter(text)
    levels = text.split("/")
    parts = []
    for level in levels[:-1]:
        parts.append("([^/]*)/" if level == "+" else f"{re.escape(level)}/")
    last = levels[-1]
    if last == "#":
        head = "".join(parts)
        body = f"{head[:-1]}(?:/(.*))?" if head else "(.*)"
    else:
        body = "".join(parts) + ("([^/]*)" if last == "+" else re.escape(last))
    guard = r"(?!\$)" if levels[0] in ("+", "#") else ""
    return re.compile(guard + body, re.DOTALL)


def covers(outer: str, inner: str) -> bool:
    """Whether every topic of the filter `inner` is one of the filter `outer`."""
    outers, inners = outer.split("/"), inner.split("/")
    if inners[0].startswith("$") and outers[0] in ("+", "#"):
        return False
    for index, level in enumerate(outers):
        if level == "#":
            return True
        if index >= len(inners) or inners[index] == "#" or (level != "+" and level != inners[index]):
            return False
    return len(outers) == len(inners)


def sibling(topic: str, level: str) -> str:
    """The topic (or filter) with another last level: `a/b/state`, `last_updated` → `a/b/last_updated`."""
    head, slash, _ = topic.rpartition("/")
    return f"{head}{slash}{level}"


def parent_filter(topic: str) -> str:
    """Everything beside and below a topic: `stove/LWT` → `stove/#`; a topic of one level stands for everything."""
    head, slash, _ = topic.rpartition("/")
    return f"{head}{slash}#"


_FIELD = re.compile(r"\{([^{}]*)\}")


@dataclass(frozen=True)
class TopicPattern:
    """Which topics a rule is for, and which point each becomes.

    Attributes:
        topic: filter with the wildcards + and #.
        pattern: regular expression that the whole topic must match besides; None is any.
        point: template of the point: {topic}, {path} (of a value in JSON), {1}, {2} … for the groups of the pattern
            (without one: the wildcards of the filter) and {name} for its named groups.
    """

    topic: str
    pattern: str | None = None
    point: str = "{topic}"
    _filtered: re.Pattern[str] = field(init=False, repr=False, compare=False)
    _matching: re.Pattern[str] | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        filtered = filter_expression(self.topic)
        matching = filtered if self.pattern is None else re.compile(self.pattern)
        known = {"topic", "path", *matching.groupindex, *map(str, range(1, matching.groups + 1))}
        unknown = [name for name in _FIELD.findall(self.point) if name not in known]
        if unknown:
            raise ValueError(f"{{{unknown[0]}}} is none of {', '.join(f'{{{name}}}' for name in sorted(known))}")
        if "{" in _FIELD.sub("", self.point) or "}" in _FIELD.sub("", self.point):
            raise ValueError("{ and } enclose a name, such as {topic}")
        object.__setattr__(self, "_filtered", filtered)
        object.__setattr__(self, "_matching", None if self.pattern is None else matching)

    def groups(self, topic: str) -> Mapping[str, str] | None:
        """What the wildcards and groups stand for in a topic, by their names in the template; None: not this rule's."""
        found = self._filtered.fullmatch(topic)
        if found is not None and self._matching is not None:
            found = self._matching.fullmatch(topic)
        if found is None:
            return None
        numbered = {str(number): text or "" for number, text in enumerate(found.groups(), start=1)}
        return {"topic": topic, **numbered, **{name: text or "" for name, text in found.groupdict().items()}}

    def point_of(self, groups: Mapping[str, str], path: str = "") -> str:
        """The point of a value: the filled template, with the value's path behind it unless the template places it."""
        placed = "{path}" in self.point
        names = {**groups, "path": path}
        point = _FIELD.sub(lambda name: names[name[1]], self.point)
        return point if placed or not path else f"{point}{PATH_MARK}{path}"
