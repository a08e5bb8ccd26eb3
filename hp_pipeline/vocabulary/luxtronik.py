"""The registers of Luxtronik controllers (`luxtronik.yaml`): what a raw integer means, applied on read.

A register is known by its group and index, written as a point: `parameter/1136`, `calculation/10`, `visibility/1`.
Every 32-bit integer of every register decodes without an error; what means nothing is None.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from functools import cache
from importlib.resources import files
from ipaddress import IPv4Address
from typing import Any, Literal

from ruamel.yaml import YAML

Kind = Literal[
    "number", "flag", "enum", "time", "time_of_day", "time_range", "ip_address", "character", "version", "unknown"
]
Decoded = float | str | bool | datetime | None
Firmware = tuple[int, ...]

SECRET_PARAMETERS = range(755, 761)
"""Digits of the web server's password, which are never kept (the table marks them `secret`)."""
MINUTES_PER_DAY = 24 * 60
SECONDS_PER_DAY = 86_400
_POINT = re.compile(r"(parameter|calculation|visibility)/(0|[1-9][0-9]{0,4})", re.ASCII)


class Group(StrEnum):
    """The three vectors that a controller sends."""

    parameter = "parameter"
    """settings and lasting counters"""
    calculation = "calculation"
    """what is measured now"""
    visibility = "visibility"
    """which menu entries are shown; only a hint of what is installed"""


@dataclass(frozen=True)
class ScaleRule:
    """A scale that holds for the firmwares whose version begins with `firmware`."""

    firmware: Firmware
    scale: float


@dataclass(frozen=True)
class Register:
    """What one register means.

    Attributes:
        group: the vector it is in.
        index: its place there.
        name: the controller's own name, `unknown_<group>_<index>` where there is none.
        title: what it means, in English; empty if not known.
        kind: what the raw integer is.
        unit: unit of the decoded number.
        scale: number = raw * scale + offset.
        offset: see scale.
        words: words of the codes of an enum.
        absent: raw values that say that the sensor is not there.
        scales: scales by firmware, instead of `scale`; the first that fits.
        since: first firmware in which it means something.
        before: first firmware in which it means nothing any more.
        secret: its value is never kept or shown.
        source: where it is known from, when not from the package's definitions.
    """

    group: Group
    index: int
    name: str
    title: str = ""
    kind: Kind = "unknown"
    unit: str | None = None
    scale: float = 1.0
    offset: float = 0.0
    words: Mapping[int, str] = field(default_factory=dict)
    absent: frozenset[int] = frozenset()
    scales: tuple[ScaleRule, ...] = ()
    since: Firmware = ()
    before: Firmware = ()
    secret: bool = False
    source: str = ""

    @property
    def point(self) -> str:
        """Its name as a point of a source."""
        return f"{self.group}/{self.index}"

    def decode(self, raw: int, firmware: str | None = None) -> Decoded:
        """What a raw integer of this register means.

        Args:
            raw: the integer as it was sent.
            firmware: version of the controller, such as `V3.90.4`; without it the rules by firmware do not apply.

        Returns:
            A number in `unit`, a flag, a word, a time in UTC; None where it means nothing (a sensor that is not
            there, a time that was never set, a register that this firmware does not fill, a secret).
        """
        version = parse_firmware(firmware)
        if self.secret or raw in self.absent:
            return None
        if version and (version < self.since or (self.before and version >= self.before)):
            return None
        match self.kind:
            case "number":
                scale = next(
                    (rule.scale for rule in self.scales if version[: len(rule.firmware)] == rule.firmware), None
                )
                return _scaled(raw, self.scale if scale is None else scale) + self.offset
            case "flag":
                return raw != 0
            case "enum":
                return self.words.get(raw, f"unknown_{raw}")
            case "time":
                return moment(raw)
            case "time_of_day":
                return _time_of_day(raw)
            case "time_range":
                return _time_range(raw)
            case "ip_address":
                return str(IPv4Address(raw & 0xFFFF_FFFF))
            case "character":
                return chr(raw) if 32 <= raw < 127 else ""
            case "version":
                return f"{raw // 100}.{raw % 100:02d}" if raw > 0 else None
            case "unknown":
                return float(raw)


def _scaled(raw: int, scale: float) -> float:
    """raw * scale without the dust of binary fractions (54321.100000000006)."""
    parts = round(1 / scale)
    return raw / parts if scale < 1 else raw * scale


def moment(raw: int) -> datetime | None:
    """The time of a register that holds unix seconds, None if it was never set."""
    return datetime.fromtimestamp(raw, UTC) if 0 < raw < 2**32 else None


def _time_of_day(raw: int) -> str | None:
    if not 0 <= raw <= SECONDS_PER_DAY:
        return None
    hours, rest = divmod(raw, 3600)
    minutes, seconds = divmod(rest, 60)
    return f"{hours}:{minutes:02d}" + (f":{seconds:02d}" if seconds else "")


def _time_range(raw: int) -> str | None:
    """Two minutes of the day in one integer, the begin in the lower half."""
    begin, end = raw & 0xFFFF, (raw >> 16) & 0xFFFF
    if begin > MINUTES_PER_DAY or end > MINUTES_PER_DAY:
        return None
    return f"{begin // 60}:{begin % 60:02d}-{end // 60}:{end % 60:02d}"


@cache
def parse_firmware(text: str | None) -> Firmware:
    """The numbers of a version such as `V3.90.4`, empty if there is none."""
    found = re.search(r"[0-9]+(?:\.[0-9]+)*", text or "", re.ASCII)
    return tuple(int(part) for part in found.group().split(".")) if found else ()


def parse_point(point: str) -> tuple[Group, int] | None:
    """Group and index of a point such as `calculation/10`, None for any other name."""
    found = _POINT.fullmatch(point)
    return (Group(found.group(1)), int(found.group(2))) if found else None


class RegisterTable:
    """All registers that are known, in one version of the table.

    Attributes:
        version: rises with every correction.
        enums: words of the codes, by the name of the enum (`error`, `switch_off`, …).
    """

    def __init__(
        self, version: int, registers: Mapping[tuple[Group, int], Register], enums: Mapping[str, Mapping[int, str]]
    ) -> None:
        self.version = version
        self.enums = enums
        self._registers = registers
        self._by_name = {(register.group, register.name): register for register in registers.values()}

    def __iter__(self) -> Iterator[Register]:
        return iter(self._registers.values())

    def register(self, group: Group, index: int) -> Register:
        """The register of this group and index; an unknown one is a raw integer."""
        known = self._registers.get((group, index))
        return known or Register(group, index, f"unknown_{group}_{index}")

    def named(self, group: Group, name: str) -> Register | None:
        """The register that has this name in its group, None if there is none."""
        return self._by_name.get((group, name))

    def decode(self, point: str, raw: int, firmware: str | None = None) -> Decoded:
        """What a raw integer of a point means; see `Register.decode`. None for a point that is no register."""
        found = parse_point(point)
        return self.register(*found).decode(raw, firmware) if found else None


@cache
def registers() -> RegisterTable:
    """The table that comes with the package."""
    text = files(__package__).joinpath("luxtronik.yaml").read_text(encoding="utf-8")
    raw = YAML(typ="safe").load(text)
    enums: dict[str, Mapping[int, str]] = raw["enums"]
    result = {}
    for group in Group:
        details = raw["details"].get(group.value, {})
        for line in raw["registers"][group.value].splitlines():
            written, name, *rest = line.split()
            index = int(written)
            result[group, index] = _register(group, index, name, rest, raw["quantities"], enums, details.get(index, {}))
    return RegisterTable(raw["version"], result, enums)


def _register(
    group: Group,
    index: int,
    name: str,
    quantity: list[str],
    quantities: Mapping[str, Mapping[str, Any]],
    enums: Mapping[str, Mapping[int, str]],
    detail: Mapping[str, Any],
) -> Register:
    what: Mapping[str, Any] = quantities[quantity[0]] if quantity else {"kind": "unknown"}
    return Register(
        group=group,
        index=index,
        name=name,
        title=detail.get("title", ""),
        kind=what["kind"],
        unit=what.get("unit"),
        scale=what.get("scale", 1.0),
        offset=what.get("offset", 0.0),
        words=enums[quantity[0]] if what["kind"] == "enum" else {},
        absent=frozenset(detail.get("absent", ())),
        scales=tuple(ScaleRule(parse_firmware(rule["firmware"]), rule["scale"]) for rule in detail.get("scales", ())),
        since=parse_firmware(detail.get("from")),
        before=parse_firmware(detail.get("before")),
        secret=detail.get("secret", False),
        source=detail.get("source", ""),
    )
