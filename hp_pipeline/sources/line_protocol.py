"""InfluxDB's line protocol to readings: `measurement,tag=value field=1.5,other="text" 1728797880000000000`.

A field is a reading of the point `measurement,tag=value field` (see `vocabulary.points`). Numbers, also integers
(`5i`, `5u`), are values; strings and booleans are text, booleans always `true` or `false` however they are written.

Lines of the usual shape are parsed by column expressions over batches of bounded size; every line that has another
shape is read character by character by `parse_line`, which knows the whole grammar. Both give the same readings.
A line that is no line protocol, or has no time, is rejected with its number and the reason; the others are kept.

The grammar is that of InfluxDB 1.x: https://docs.influxdata.com/influxdb/v1/write_protocols/line_protocol_reference/
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import IO, Literal

import polars as pl

from hp_pipeline.sources.readings import NUMBER, Reject, Rejects
from hp_pipeline.vocabulary.points import series_point

Precision = Literal["ns", "us", "ms", "s"]

RAW_SCHEMA = pl.Schema(
    {
        "line": pl.Int64(),
        "point": pl.String(),
        "time": pl.Datetime("us", "UTC"),
        "value": pl.Float64(),
        "text": pl.String(),
    }
)
"""Readings as parsed, with the line they stood on; not yet normalised."""

_BATCH_BYTES = 16 << 20
_MAX_LINE_BYTES = 64 << 20
_MAX_TEXT_LINES = 100
"""A string may contain line breaks. A missing quote must not swallow the rest of the file, so this many at most."""

_MAX_MICROSECONDS = 2**62
_INTEGER_TIME = re.compile(r"-?[0-9]{1,19}")
_NUMBER = re.compile(NUMBER)
_INTEGER = re.compile(r"[+-]?[0-9]+[iu]")
_TRUE = ("t", "T", "true", "True", "TRUE")
_FALSE = ("f", "F", "false", "False", "FALSE")
_BOOLEANS = {**dict.fromkeys(_TRUE, "true"), **dict.fromkeys(_FALSE, "false")}

_KEY = r"^((?:[^ \\]|\\+[^\\])+) "
_TIME = r" (-?[0-9]{1,19})$"
_FIELD_KEY = r'(?:[^,= "\\]|\\.)+'
_STRING = r'"(?:[^"\\]|\\.)*"'
_FIELD = rf'{_FIELD_KEY}=(?:{_STRING}|[^,"\s\\]+)'


class LineError(ValueError):
    """Why a line is not line protocol."""


class UnfinishedStringError(LineError):
    """The line ends inside a quoted string: it may go on in the next line."""


class NotLineProtocolError(ValueError):
    """The whole input is something else."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a line: its point, and its number or its text."""

    point: str
    value: float | None
    text: str | None


def _scaled(stamp: str, precision: Precision) -> int:
    """Microseconds since 1970 of a timestamp; finer ones are cut off."""
    number = int(stamp)
    microseconds = {"ns": number // 1000, "us": number, "ms": number * 1000, "s": number * 1_000_000}[precision]
    if abs(microseconds) > _MAX_MICROSECONDS:
        raise LineError("timestamp out of range (is the precision right?)")
    return microseconds


@lru_cache(maxsize=20_000)
def parse_key(raw: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    """Measurement and tags of `measurement,tag=value`, unescaped.

    Raises:
        LineError: no measurement, a tag without a value, a tag given twice.
    """
    # In InfluxDB a character is escaped when a backslash stands before it, whatever stands before that.
    measurement, *pairs = re.split(r"(?<!\\),", raw)
    if not measurement:
        raise LineError("no measurement")
    tags: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = _partition_unescaped_equals(pair)
        if not equals or not key or not value:
            raise LineError("a tag without a name or a value")
        if key in tags:
            raise LineError("the same tag twice")
        tags[key] = value
    return _unescaped(measurement), tuple(tags.items())


def _partition_unescaped_equals(pair: str) -> tuple[str, bool, str]:
    parts = re.split(r"(?<!\\)=", pair, maxsplit=1)
    if len(parts) != 2:
        return pair, False, ""
    return _unescaped(parts[0]), True, _unescaped(parts[1])


def _unescaped(text: str) -> str:
    return re.sub(r"\\([,= ])", r"\1", text)


@lru_cache(maxsize=50_000)
def _point(key: str, field_key: str) -> str:
    measurement, tags = parse_key(key)
    return series_point(measurement, dict(tags), _unescaped(field_key))


def parse_line(line: str, precision: Precision = "ns") -> tuple[int, list[Field]]:
    """The time in microseconds since 1970 and the fields of one line.

    Raises:
        UnfinishedStringError: the line ends inside a quoted string.
        LineError: anything else that is not line protocol with a timestamp.
    """
    line = line.lstrip(" \t")
    end_of_key = re.search(r"(?<!\\) ", line)
    if end_of_key is None:
        raise LineError("no fields")
    key = line[: end_of_key.start()]
    parse_key(key)
    at = end_of_key.end()
    while at < len(line) and line[at] == " ":
        at += 1
    fields, at = _parse_fields(line, at, key)
    stamp = line[at:].strip(" \t\r")
    if not stamp:
        raise LineError("no timestamp")
    if _INTEGER_TIME.fullmatch(stamp) is None:
        raise LineError("the timestamp is no whole number")
    return _scaled(stamp, precision), fields


_FIELD_START = re.compile(r"((?:[^,= \\]|\\.)+)=", re.DOTALL)
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_BARE = re.compile(r'[^, "]+')


def _parse_fields(line: str, at: int, key: str) -> tuple[list[Field], int]:
    fields = []
    while True:
        start = _FIELD_START.match(line, at)
        if start is None:
            raise LineError("a field without a name or a value")
        at = start.end()
        value: float | None = None
        text: str | None = None
        if line.startswith('"', at):
            quoted = _QUOTED.match(line, at)
            if quoted is None:
                raise UnfinishedStringError("a quoted string without an end")
            text = _unquoted(quoted[1])
            at = quoted.end()
        else:
            bare = _BARE.match(line, at)
            if bare is None:
                raise LineError("a field without a name or a value")
            value, text = _bare_value(bare[0])
            at = bare.end()
        fields.append(Field(_point(key, start[1]), value, text))
        if line.startswith(",", at):
            at += 1
        elif at == len(line) or line[at] in " \t\r":
            return fields, at
        else:
            raise LineError("something follows a value without a comma")


def _unquoted(raw: str) -> str:
    return re.sub(r'\\(["\\])', r"\1", raw)


def _bare_value(raw: str) -> tuple[float | None, str | None]:
    raw = raw.rstrip("\r")
    if raw in _BOOLEANS:
        return None, _BOOLEANS[raw]
    if _INTEGER.fullmatch(raw):
        return float(raw[:-1]), None
    if _NUMBER.fullmatch(raw):
        return float(raw), None
    raise LineError("a value that is neither a number nor a boolean nor a quoted string")


def _is_silent(line: str) -> bool:
    """Blank lines, comments, and the statements at the head of a file that `influx_inspect export` wrote."""
    stripped = line.strip()
    return not stripped or stripped.startswith(("#", "CREATE DATABASE "))


@dataclass
class _Usual:
    """What the column expressions made of a batch."""

    readings: pl.DataFrame
    odd_lines: list[int]


def _parse_usual(lines: pl.DataFrame, precision: Precision) -> _Usual:
    """All lines of the usual shape at once; the numbers of the other ones that say something.

    Args:
        lines: columns `line` (its number) and `source` (its text).
        precision: unit of the timestamps.
    """
    source = pl.col("source")
    lines = lines.filter((source.str.len_bytes() > 0) & ~source.str.starts_with("#"))
    split = lines.with_columns(key=source.str.extract(_KEY), stamp=source.str.extract(_TIME))
    key_bytes = pl.col("key").str.len_bytes().cast(pl.Int64)
    fields_bytes = source.str.len_bytes().cast(pl.Int64) - key_bytes - pl.col("stamp").str.len_bytes() - 2
    split = split.with_columns(
        fields=source.cast(pl.Binary)
        .bin.slice(key_bytes + 1, pl.when(fields_bytes > 0).then(fields_bytes).otherwise(0))
        .cast(pl.String, strict=False),
        time=_microseconds(pl.col("stamp").cast(pl.Int64, strict=False), precision),
    ).with_columns(field=pl.col("fields").str.extract_all(_FIELD))
    recognised = (pl.col("field").list.join(",") == pl.col("fields")) & (pl.col("fields") != "")
    usual = (recognised & pl.col("time").is_not_null() & ~source.str.starts_with("\t")).fill_null(False)
    each = (
        split.filter(usual)
        .select("line", "time", "key", "field")
        .explode("field")
        .with_columns(field_key=pl.col("field").str.extract(rf"^({_FIELD_KEY})="))
        .with_columns(
            content=pl.col("field")
            .cast(pl.Binary)
            .bin.slice(pl.col("field_key").str.len_bytes() + 1)
            .cast(pl.String, strict=False)
        )
    )
    content = pl.col("content")
    quoted = content.str.starts_with('"')
    integer = content.str.contains(r"^[+-]?[0-9]+[iu]$")
    number = pl.when(integer).then(content.str.head(-1)).when(content.str.contains(NUMBER)).then(content)
    each = each.with_columns(
        value=pl.when(~quoted).then(number).cast(pl.Float64, strict=False),
        text=pl.when(quoted)
        .then(content.str.head(-1).str.tail(-1).str.replace_all(r'\\(["\\])', "${1}"))
        .otherwise(content.replace_strict(_BOOLEANS, default=None, return_dtype=pl.String)),
    ).join(_points(each), on=["key", "field_key"], how="left", maintain_order="left")
    odd = each.filter(pl.col("point").is_null() | (pl.col("value").is_null() & pl.col("text").is_null()))[
        "line"
    ].unique()
    if len(odd):
        each = each.filter(~pl.col("line").is_in(odd.implode()))
    odd_lines = [*split.filter(~usual)["line"], *odd]
    return _Usual(each.select(RAW_SCHEMA.names()).cast(RAW_SCHEMA), sorted(odd_lines))


def _microseconds(stamp: pl.Expr, precision: Precision) -> pl.Expr:
    factor = {"ns": 1, "us": 1, "ms": 1000, "s": 1_000_000}[precision]
    if precision == "ns":
        microseconds = stamp.floordiv(1000)
    else:
        fits = stamp.is_between(-_MAX_MICROSECONDS // factor, _MAX_MICROSECONDS // factor)
        microseconds = pl.when(fits).then(stamp) * factor
    return microseconds.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")


def _points(fields: pl.DataFrame) -> pl.DataFrame:
    """The point of each (key, field key) that occurs; null where the key is no key."""
    pairs = fields.select("key", "field_key").unique()
    points: list[str | None] = []
    for key, field_key in pairs.iter_rows():
        try:
            points.append(_point(key, field_key))
        except LineError:
            points.append(None)
    return pairs.with_columns(point=pl.Series(points, dtype=pl.String))


@dataclass
class _Odd:
    """What reading line by line made of the odd lines of a batch."""

    readings: pl.DataFrame
    continuations: set[int]
    unfinished_at: int | None


def _parse_odd(
    lines: pl.DataFrame, odd_lines: list[int], precision: Precision, rejects: Rejects, *, last_batch: bool
) -> _Odd:
    """Read the odd lines character by character; join those that go on in the next line.

    `unfinished_at` is the number of a line whose string may go on after this batch, and which has to be read again
    with what follows.
    """
    if not odd_lines:
        return _Odd(_raw_frame([]), set(), None)
    source: list[str] = lines["source"].to_list()
    first = int(lines["line"][0])
    found: list[tuple[int, str, int, float | None, str | None]] = []
    continuations: set[int] = set()
    for number in odd_lines:
        if number in continuations:
            continue
        line = source[number - first]
        if _is_silent(line):
            continue
        try:
            time, fields = parse_line(line, precision)
        except UnfinishedStringError as error:
            joined = _joined(source, number - first, precision)
            if joined is None:
                if not last_batch and number - first + _MAX_TEXT_LINES >= len(source):
                    return _Odd(_raw_frame(found), continuations, number)
                rejects.add(Reject(str(error), line=number, found=_excerpt(line)))
                continue
            count, time, fields = joined
            continuations.update(range(number + 1, number + count))
        except LineError as error:
            rejects.add(Reject(str(error), line=number, found=_excerpt(line)))
            continue
        found += [(number, field.point, time, field.value, field.text) for field in fields]
    return _Odd(_raw_frame(found), continuations, None)


def _joined(source: list[str], at: int, precision: Precision) -> tuple[int, int, list[Field]] | None:
    """The line at `at` with as many of the following as make it whole: how many lines, its time, its fields."""
    line = source[at]
    for count, following in enumerate(source[at + 1 : at + _MAX_TEXT_LINES], start=2):
        line = f"{line}\n{following}"
        if '"' not in following:
            continue
        try:
            time, fields = parse_line(line, precision)
        except UnfinishedStringError:
            continue
        except LineError:
            return None
        return count, time, fields
    return None


def _raw_frame(found: list[tuple[int, str, int, float | None, str | None]]) -> pl.DataFrame:
    columns = {name: [row[index] for row in found] for index, name in enumerate(RAW_SCHEMA)}
    schema = {**RAW_SCHEMA, "time": pl.Int64()}
    frame = pl.DataFrame(columns, schema=schema)
    return frame.with_columns(pl.col("time").cast(pl.Datetime("us")).dt.replace_time_zone("UTC"))


def _excerpt(line: str, length: int = 120) -> str:
    return line if len(line) <= length else f"{line[: length - 1]}…"


def parse(
    stream: IO[bytes], rejects: Rejects, *, precision: Precision = "ns", batch_bytes: int = _BATCH_BYTES
) -> Iterator[pl.DataFrame]:
    """Readings of line protocol, in batches of bounded size, each of `RAW_SCHEMA`, in the order of the lines.

    Args:
        stream: the bytes, UTF-8, with or without a byte-order mark.
        rejects: where lines that are no line protocol are reported.
        precision: unit of the timestamps.
        batch_bytes: how much is parsed at once.

    Raises:
        NotLineProtocolError: the input has lines of more than 64 MB.
    """
    number = 1
    rest = b""
    at_start = True
    while True:
        block = stream.read(batch_bytes)
        last_batch = not block
        if at_start:
            block = block.removeprefix(b"\xef\xbb\xbf")
            at_start = False
        block = rest + block
        end = len(block) if last_batch else block.rfind(b"\n") + 1
        rest = block[end:]
        if len(rest) > _MAX_LINE_BYTES:
            raise NotLineProtocolError("it has a line of more than 64 MB")
        if end:
            readings, used, used_lines = _parse_batch(block[:end], number, precision, rejects, last_batch=last_batch)
            if used < end:
                rest = block[used:]
            number += used_lines
            if not readings.is_empty():
                yield readings
        if last_batch:
            return


def _parse_batch(
    block: bytes, first: int, precision: Precision, rejects: Rejects, *, last_batch: bool
) -> tuple[pl.DataFrame, int, int]:
    """Readings of a block of whole lines, how many bytes and how many lines of it were used."""
    undecodable: list[Reject] = []
    readable = block if _is_utf8(block) else _without_undecodable_lines(block, first, undecodable)
    lines = pl.read_lines(readable, name="source").with_columns(
        pl.int_range(first, first + pl.len(), dtype=pl.Int64).alias("line")
    )
    usual = _parse_usual(lines, precision)
    odd = _parse_odd(lines, usual.odd_lines, precision, rejects, last_batch=last_batch)
    readings = usual.readings
    used, used_lines = len(block), lines.height
    if odd.unfinished_at is not None:
        used_lines = odd.unfinished_at - first
        used = _offset_of_line(block, used_lines)
        readings = readings.filter(pl.col("line") < odd.unfinished_at)
    for reject in undecodable:
        if reject.line is not None and reject.line < first + used_lines:
            rejects.add(reject)
    if odd.continuations:
        readings = readings.filter(~pl.col("line").is_in(list(odd.continuations)))
    if not odd.readings.is_empty():
        readings = pl.concat([readings, odd.readings]).sort("line", maintain_order=True)
    return readings, used, used_lines


def _offset_of_line(block: bytes, lines: int) -> int:
    offset = 0
    for _ in range(lines):
        offset = block.index(b"\n", offset) + 1
    return offset


def _is_utf8(block: bytes) -> bool:
    try:
        block.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _without_undecodable_lines(block: bytes, first: int, undecodable: list[Reject]) -> bytes:
    """The block with the lines that are no UTF-8 left empty, so that the others keep their numbers."""
    lines = block.split(b"\n")
    for index, line in enumerate(lines):
        if not _is_utf8(line):
            found = _excerpt(line.decode("utf-8", errors="backslashreplace"))
            undecodable.append(Reject("not UTF-8", line=first + index, found=found))
            lines[index] = b""
    return b"\n".join(lines)
