"""What others recorded of a Luxtronik controller, as frames of readings with raw integers like those of a poll.

Understood are

* raw answers, one file for each of 3003, 3004 and 3005, as a network capture has them (the file's name ends so)
* JSON with the integers under "3003", "3004" and "3005"
* the text that the dump script of the package `luxtronik` prints (`Number: 10 Name: … Type: Celsius Value: 34.2`)
* the SQLite cache of luxtronik-logger: one JSON object of decoded values for each poll

The last two hold decoded values: they are encoded again by what that package decoded them with, since the store keeps
raw integers. A value that cannot be encoded is turned away and counted.
"""

from __future__ import annotations

import json
import math
import re
import sqlite3
import struct
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from ipaddress import AddressValueError, IPv4Address
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import polars as pl

from hp_pipeline.sources.live import Reading
from hp_pipeline.sources.luxtronik.events import clock_of, events_of
from hp_pipeline.sources.luxtronik.source import readings_of
from hp_pipeline.sources.luxtronik.wire import BusyError, NotUnderstoodError, Picture, parse_recording
from hp_pipeline.sources.readings import READINGS_SCHEMA, Reject, Rejects, deduplicate
from hp_pipeline.vocabulary.luxtronik import SECRET_PARAMETERS, Group, Register, registers

COMMANDS: Final = {"3003": Group.parameter, "3004": Group.calculation, "3005": Group.visibility}
REPEAT_AFTER: Final = timedelta(minutes=30)
"""Of a long recording a value is taken when it changed, and this often although it did not."""

_GROUPS: Final = {"parameters": Group.parameter, "calculations": Group.calculation, "visibilities": Group.visibility}
_PACKAGE_SCALES: Final[Mapping[tuple[Group, int], float]] = {
    (Group.parameter, index): 0.1 for index in (852, 854, 878, 879)
}
"""Where the package decodes with another scale than is right."""
_TYPE_SCALES: Final = {
    "Celsius": 0.1, "Kelvin": 0.1, "Energy": 0.1, "Voltage": 0.1, "Percent": 0.1, "Hours": 0.1, "Pressure": 0.01,
}  # fmt: skip
"""Scales of the package's types; the others do not scale."""
_PACKAGE_NAMES: Final = {
    (Group.calculation, "Circulation_Pump"): 241,
    (Group.calculation, "ID_WEB_SoftStand"): 81,
}
_PACKAGE_WORDS: Final[Mapping[str, Mapping[str, int]]] = {
    "operation_mode": {"swimming pool/solar": 2, "evu": 3, "heating external source": 6},
    "status_line_1": {"heatpump running": 0, "heatpump idle": 1, "heatpump coming": 2, "errorcode slot 0": 3,
        "witing on lin connection": 5, "waiting on lin connection": 5},
    "status_line_3": {"grid switch on delay": 2, "domestic water": 5, "info bake out program": 6,
        "thermal desinfection": 9, "swimming pool/solar": 12, "heating external engery source": 13,
        "heating external energy source": 13, "domestic water external energy source": 14,
        "second heat generator 1 active": 17},
    "sec_operation_mode": {"evu lock": 12},
    "heating_mode": {"second heatsource": 1},
    "bivalence_level": {"one compressor allowed to run": 1, "two compressors allowed to run": 2,
        "additional compressor allowed to run": 3, "additional heat generator allowed to run": 3},
    "timer_program": {"5+2": 1, "days": 2},
    "access_level": {"after sales service": 1},
    "switch_off": {"heatpump error": 0, "operation mode second heat generator": 2, "evu lock": 3,
        "maximal usage temperature": 6, "minimal usage temperature": 7, "lower usage limit": 8,
        "superheating pause": 13, "operation mode for switching over": 16, "other shutdown": 17,
        "min.flow cooling": 18, "pv max": 19, "overheating hot gas pause": 21, "min. heat source out cooling": 23,
        "lpc": 24},
}  # fmt: skip
"""How the package words codes where the register table words them otherwise (in lower case)."""
_INDEX = re.compile(r"(?:Unknown_[A-Za-z]+_)?([0-9]{1,5})", re.ASCII)
_DUMP_LINE = re.compile(r"Number: +([0-9]{1,5}) +Name: +(\S+) +Type: +(\S+) +Value: ?(.*?) *$")
_DUMP_GROUP = re.compile(r"=* *(Parameter|Calculations?|Visibilities|Visibility)s? *=*$")


class RecordingError(ValueError):
    """A recording cannot be read; the message names the file, what is wrong and the remedy."""


def is_sqlite(path: Path) -> bool:
    """Whether a file is an SQLite database, such as the cache of luxtronik-logger."""
    try:
        with path.open("rb") as file:
            return file.read(16) == b"SQLite format 3\0"
    except OSError:
        return False


def import_recording(
    path: Path, rejects: Rejects, *, time: datetime | None = None, time_zone: str = "UTC"
) -> pl.DataFrame:
    """The readings of one recorded picture: a folder or file of raw answers, JSON, or a text dump.

    Args:
        path: the file; of raw answers the folder with the three files, or any one of them.
        rejects: where what cannot be encoded is counted.
        time: when it was recorded; without it what the controller's clock said.
        time_zone: of times in a text dump, the zone of the machine that printed it.

    Returns:
        A frame of `READINGS_SCHEMA`.

    Raises:
        RecordingError: it is none of these, or has no time.
    """
    picture = _picture(path, rejects, ZoneInfo(time_zone))
    moment = time or clock_of(picture)
    if moment is None:
        raise RecordingError(f"{path}: the recording has no time. Give the time at which it was made")
    return _frame([(moment, [*readings_of(picture), *(event.reading for event in events_of(picture))])])


def _picture(path: Path, rejects: Rejects, zone: ZoneInfo) -> Picture:
    try:
        if path.is_dir() or path.name.endswith(tuple(COMMANDS)):
            return _raw_answers(path)
        content = path.read_bytes()
    except OSError as error:
        raise RecordingError(f"{path} cannot be read: {error.strerror}") from error
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RecordingError(f"{path} is neither JSON nor a text dump, nor named after 3003, 3004 or 3005") from error
    return _json_integers(path, text) if text.lstrip().startswith("{") else _text_dump(path, text, rejects, zone)


def _raw_answers(path: Path) -> Picture:
    folder = path if path.is_dir() else path.parent
    prefix = "" if path.is_dir() else path.name[: -len("3003")]
    found: dict[Group, tuple[int, ...]] = {}
    for command, group in COMMANDS.items():
        files = sorted(folder.glob(f"{_literal(prefix)}{command}" if prefix else f"*{command}"))
        if len(files) != 1:
            raise RecordingError(f"{folder}: one file whose name ends with {command} is needed, found {len(files)}")
        try:
            found[group] = parse_recording(files[0].read_bytes(), group)
        except (NotUnderstoodError, BusyError) as error:
            raise RecordingError(f"{files[0]} is no answer to {command}: {error}") from error
    return Picture(found[Group.parameter], found[Group.calculation], found[Group.visibility])


def _literal(text: str) -> str:
    return re.sub(r"([*?\[])", r"[\1]", text)


def _json_integers(path: Path, text: str) -> Picture:
    try:
        told = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise RecordingError(f"{path} is not valid JSON: {error}") from error
    found = {}
    for command, group in COMMANDS.items():
        values = told.get(command)
        if not isinstance(values, list) or not all(type(value) is int and abs(value) < 2**32 for value in values):
            raise RecordingError(f"{path} has no list of integers under {command!r}")
        found[group] = values
    return Picture(found[Group.parameter], found[Group.calculation], found[Group.visibility])


def _text_dump(path: Path, text: str, rejects: Rejects, zone: ZoneInfo) -> Picture:
    found: dict[Group, dict[int, int]] = {group: {} for group in Group}
    group: Group | None = None
    for number, line in enumerate(text.splitlines(), start=1):
        if headed := _DUMP_GROUP.fullmatch(line.strip()):
            group = {"P": Group.parameter, "C": Group.calculation, "V": Group.visibility}[headed.group(1)[0]]
        elif (entry := _DUMP_LINE.fullmatch(line.strip())) and group is not None:
            index, kind, written = int(entry.group(1)), entry.group(3), entry.group(4)
            register = registers().register(group, index)
            if kind == "Version":
                found[group] |= {81 + place: ord(letter) for place, letter in enumerate(written[:10])}
                continue
            scale = _TYPE_SCALES.get(kind, register.scale if kind == "Hours2" else 1.0)
            raw = encode(register, _typed(written), scale=scale, zone=zone)
            if raw is not None:
                found[group][index] = raw
            elif written not in ("", "None"):
                rejects.add(Reject("not a value of its register", line=number, point=register.point, found=written))
    if not any(found.values()):
        raise RecordingError(f"{path} is no dump of a Luxtronik controller that is understood")
    return Picture(*(_sequence(found[group]) for group in Group))


def _sequence(values: Mapping[int, int]) -> list[int]:
    return [values.get(index, 0) for index in range(max(values, default=-1) + 1)]


def _typed(written: str) -> object:
    if written in ("True", "False"):
        return written == "True"
    try:
        return int(written)
    except ValueError:
        try:
            return float(written)
        except ValueError:
            return written


def import_logger_cache(
    path: Path,
    rejects: Rejects,
    *,
    time_zone: str = "UTC",
    repeat_after: timedelta = REPEAT_AFTER,
    rows: int = 500,
) -> Iterator[pl.DataFrame]:
    """The readings in the cache of luxtronik-logger (`cache.db`), in the order of time, some rows at a time.

    Args:
        path: the SQLite file; it is only read, and may be in use.
        rejects: where what cannot be encoded is counted.
        time_zone: of the machine that wrote it; it wrote times as local text.
        repeat_after: how often a value is taken although it did not change.
        rows: polls in one frame.

    Yields:
        Frames of `READINGS_SCHEMA`.

    Raises:
        RecordingError: it is no such file.
    """
    if not path.is_file():
        raise RecordingError(f"{path} is not there")
    connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
    try:
        polls = _logged_polls(connection, path, rejects)
        yield from _changes(polls, rejects, ZoneInfo(time_zone), repeat_after, rows)
    finally:
        connection.close()


def _logged_polls(
    connection: sqlite3.Connection, path: Path, rejects: Rejects
) -> Iterator[tuple[datetime, dict[str, object]]]:
    try:
        for stamp, text in connection.execute("SELECT timestamp, data_json FROM sensor_data ORDER BY timestamp"):
            try:
                moment = datetime.fromtimestamp(stamp, UTC)
                told = json.loads(text)
            except (TypeError, ValueError, OverflowError, OSError, RecursionError):
                rejects.add(Reject("a poll that cannot be read", time=str(stamp)))
                continue
            if isinstance(told, dict):
                yield moment, told
            else:
                rejects.add(Reject("a poll that cannot be read", time=moment))
    except sqlite3.DatabaseError as error:
        raise RecordingError(f"{path} is no cache of luxtronik-logger: {error}") from error


def _changes(
    polls: Iterator[tuple[datetime, dict[str, object]]],
    rejects: Rejects,
    zone: ZoneInfo,
    repeat_after: timedelta,
    rows: int,
) -> Iterator[pl.DataFrame]:
    """Frames of what changed, and of everything at the begin of each UTC day and every `repeat_after`."""
    before: dict[str, object] = {}
    raws: dict[str, int] = {}
    events: set[str] = set()
    whole: datetime | None = None
    pending: list[tuple[datetime, list[Reading]]] = []
    for moment, told in polls:
        everything = whole is None or moment - whole >= repeat_after or moment.date() != whole.date()
        whole = moment if everything else whole
        readings = []
        for key, value in told.items():
            changed = key not in before or value != before[key] or type(value) is not type(before[key])
            if changed:
                before[key] = value
                raw = _encoded(key, value, moment, rejects, zone)
                if raw is None:
                    raws.pop(key, None)
                else:
                    raws[key] = raw
            if (changed or everything) and key in raws and (found := _register_of(key)):
                readings.append(Reading(found.point, float(raws[key])))
        # The rings are read again when any value changed: cheap beside reading the poll.
        for event in events_of(_calculations(raws)):
            known = f"{event.kind} {event.code} {event.time}"
            if known not in events:
                events.add(known)
                readings.append(event.reading)
        pending.append((moment, readings))
        if len(pending) >= rows:
            yield _frame(pending)
            pending = []
    if pending:
        yield _frame(pending)


def _calculations(raws: Mapping[str, int]) -> Picture:
    values = {
        found.index: raw
        for key, raw in raws.items()
        if (found := _register_of(key)) and found.group is Group.calculation
    }
    return Picture([], _sequence(values), [])


def _encoded(key: str, value: object, moment: datetime, rejects: Rejects, zone: ZoneInfo) -> int | None:
    register = _register_of(key)
    if register is None:
        rejects.add(Reject("the name of no register", point=key, time=moment))
        return None
    if value is None or (register.group is Group.parameter and register.index in SECRET_PARAMETERS):
        return None
    if _INDEX.fullmatch(key.partition(".")[2]):
        # The package did not know the register either: it left the raw integer as it was.
        raw = value if type(value) is int and abs(value) < 2**32 else None
    else:
        scale = _PACKAGE_SCALES.get((register.group, register.index), register.scale)
        raw = encode(register, value, scale=scale, zone=zone)
    if raw is None:
        rejects.add(Reject("not a value of its register", point=register.point, time=moment, found=str(value)[:80]))
    return raw


@lru_cache(maxsize=4096)
def _register_of(key: str) -> Register | None:
    """The register that a key such as `calculations.ID_WEB_Temperatur_TVL` or `parameters.1136` names."""
    written, _, name = key.partition(".")
    group = _GROUPS.get(written)
    if group is None or not name:
        return None
    number = _INDEX.fullmatch(name)
    index = int(number.group(1)) if number else _PACKAGE_NAMES.get((group, name))
    return registers().named(group, name) if index is None else registers().register(group, index)


def encode(register: Register, value: object, *, scale: float, zone: ZoneInfo) -> int | None:
    """The raw integer that a decoded value was, None if it is no value of the register.

    Args:
        register: which one.
        value: a number, a flag, or text as the package `luxtronik` writes it.
        scale: what the package multiplied with.
        zone: of times without zone.
    """
    raw: float | None
    if isinstance(value, bool):
        raw = int(value)
    elif isinstance(value, int | float):
        raw = _unscaled(value, register, scale)
    elif isinstance(value, str):
        raw = _from_text(register, value.strip(), zone)
    else:
        raw = None
    return int(raw) if raw is not None and -(2**31) <= raw < 2**32 else None


def _unscaled(value: float, register: Register, scale: float) -> float | None:
    try:
        raw = (value - register.offset) / scale if register.kind == "number" else float(value)
    except OverflowError:
        return None
    # What was decoded by this scale is a whole number again; anything else was not.
    return round(raw) if math.isfinite(raw) and abs(raw - round(raw)) < 1e-3 * max(1.0, abs(raw) * 1e-6) else None


def _from_text(register: Register, text: str, zone: ZoneInfo) -> int | None:
    try:
        match register.kind:
            case "enum":
                return _code_of(register, text)
            case "time":
                moment = datetime.fromisoformat(text)
                return max(0, int((moment if moment.tzinfo else moment.replace(tzinfo=zone)).timestamp()))
            case "time_of_day":
                hours, minutes, *seconds = (int(part) for part in text.split(":"))
                return hours * 3600 + minutes * 60 + (seconds[0] if seconds else 0)
            case "time_range":
                begin, end = (_minutes(part) for part in text.split("-"))
                return (end << 16) + begin
            case "ip_address":
                (signed,) = struct.unpack(">i", IPv4Address(text).packed)
                return int(signed)
            case "character":
                return ord(text) if text else 0
            case "version":
                major, minor = (int(part) for part in text.split("."))
                return major * 100 + minor
            case _:
                return None
    except (ValueError, TypeError, OverflowError, AddressValueError):
        return None


def _minutes(text: str) -> int:
    hours, minutes = (int(part) for part in text.split(":"))
    return hours * 60 + minutes


def _code_of(register: Register, text: str) -> int | None:
    unknown = re.fullmatch(r"[Uu]nknown_(-?[0-9]+)", text, re.ASCII)
    if unknown:
        return int(unknown.group(1))
    word = text.casefold()
    own = next((code for code, name in register.words.items() if name.casefold() == word), None)
    return next((words[word] for words in _words_of(register) if word in words), None) if own is None else own


def _words_of(register: Register) -> Iterator[Mapping[str, int]]:
    """The package's words for the enum of a register."""
    for name, words in registers().enums.items():
        if words is register.words and name in _PACKAGE_WORDS:
            yield _PACKAGE_WORDS[name]


def _frame(polls: list[tuple[datetime, list[Reading]]]) -> pl.DataFrame:
    columns: dict[str, list[Any]] = {"point": [], "time": [], "value": [], "text": []}
    for moment, readings in polls:
        columns["point"] += [reading.point for reading in readings]
        columns["time"] += [reading.time or moment for reading in readings]
        columns["value"] += [reading.value for reading in readings]
        columns["text"] += [reading.text for reading in readings]
    frame, _ = deduplicate(pl.DataFrame(columns, schema=READINGS_SCHEMA))
    return frame
