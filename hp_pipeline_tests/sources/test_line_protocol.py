"""Line protocol: the fast way and the slow way agree, and what goes in comes out."""

from __future__ import annotations

import io
import string

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from hp_pipeline.sources import line_protocol
from hp_pipeline.sources.line_protocol import RAW_SCHEMA, LineError, UnfinishedStringError, parse, parse_line
from hp_pipeline.sources.readings import Rejects
from hp_pipeline.vocabulary.points import series_point

SECOND = 1_728_797_880


def parsed(text: str | bytes, **options) -> tuple[pl.DataFrame, Rejects]:
    rejects = Rejects()
    content = text if isinstance(text, bytes) else text.encode()
    frames = list(parse(io.BytesIO(content), rejects, **options))
    return pl.concat([RAW_SCHEMA.to_frame(), *frames]), rejects


def slowly(text: str) -> tuple[list[tuple], list[tuple[int, str]]]:
    """Line by line by the grammar alone."""
    readings, bad = [], []
    lines = text.removesuffix("\n").split("\n") if text else []
    lines = [line.removesuffix("\r") for line in lines]
    number = 0
    while number < len(lines):
        count = 1
        line = lines[number]
        if not line.strip() or line.strip().startswith(("#", "CREATE DATABASE ")):
            number += 1
            continue
        while True:
            try:
                time, fields = parse_line(line)
            except UnfinishedStringError as error:
                if count < 100 and number + count < len(lines):
                    line += "\n" + lines[number + count]
                    count += 1
                    continue
                bad.append((number + 1, str(error)))
                count = 1
            except LineError as error:
                reason = str(error) if count == 1 else "a quoted string without an end"
                bad.append((number + 1, reason))
                count = 1
            else:
                readings += [(number + 1, field.point, time, field.value, field.text) for field in fields]
            break
        number += count
    return readings, bad


def assert_same(text: str, **options) -> None:
    expected, bad = slowly(text)
    frame, rejects = parsed(text, **options)
    rows = frame.with_columns(pl.col("time").dt.epoch("us")).rows()
    assert rows == expected
    assert [(reject.line, reject.reason) for reject in sorted(rejects.kept, key=lambda one: one.line)] == bad


name = st.text(st.sampled_from("abZ9_ ,=.-()/°ü:'"), min_size=1, max_size=8).filter(
    lambda word: not word.startswith("#")
)
content = st.text(st.sampled_from('abc ,="\\ü\n#'), max_size=12)
value = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(-(2**53), 2**53).map(lambda number: (f"{number}i", float(number))),
    st.integers(0, 2**53).map(lambda number: (f"{number}u", float(number))),
    st.sampled_from([("t", "true"), ("TRUE", "true"), ("f", "false"), ("False", "false")]),
    content,
)
point = st.tuples(
    name,
    st.dictionaries(name, name, max_size=3),
    st.dictionaries(name, value, min_size=1, max_size=3),
    st.integers(0, 2**60),
)


def written(measurement: str, tags: dict[str, str], fields: dict, time: int) -> tuple[str, list[tuple]]:
    """A line and the readings that it means."""
    readings, parts = [], []
    head = series_point(measurement, tags, "f").removesuffix(" f")
    for field, raw in fields.items():
        identity = series_point(measurement, tags, field)
        escaped = series_point("", {}, field).removeprefix(" ")
        if isinstance(raw, tuple):
            text, meaning = raw
        elif isinstance(raw, str):
            text, meaning = '"' + raw.replace("\\", "\\\\").replace('"', '\\"') + '"', raw
        else:
            text, meaning = repr(raw), raw
        parts.append(f"{escaped}={text}")
        number = meaning if isinstance(meaning, float) else None
        readings.append((identity, time // 1000, number, None if number is not None else meaning))
    return f"{head} {','.join(parts)} {time}", readings


@settings(deadline=None)
@given(st.lists(point, max_size=8), st.integers(1, 200))
def test_what_is_written_is_read_back(points: list[tuple], batch_bytes: int) -> None:
    lines = [written(*one) for one in points]
    text = "".join(f"{line}\n" for line, _ in lines)
    frame, rejects = parsed(text, batch_bytes=batch_bytes)
    assert not rejects
    found = frame.with_columns(pl.col("time").dt.epoch("us")).drop("line").rows()
    assert found == [reading for _, readings in lines for reading in readings]


odd_line = st.text(st.sampled_from('m,t=af1i" \\#\t9'), max_size=24)
usual_line = st.sampled_from(
    [
        "m,t=a f=1 9",
        'm f="x y",g=2i 9',
        "m,t=\\ b f\\ g=t 123",
        "# comment",
        "",
        'm f="a\\"b" 9',
        "m f=1",
        'm f="a',
        'b" 9',
    ]
)


@settings(deadline=None)
@given(st.lists(st.one_of(odd_line, usual_line), max_size=12), st.sampled_from(["\n", "\r\n"]), st.integers(1, 80))
def test_fast_and_slow_agree_on_any_text(lines: list[str], line_break: str, batch_bytes: int) -> None:
    assert_same(line_break.join(lines), batch_bytes=batch_bytes)


@settings(deadline=None)
@given(st.text(string.printable, max_size=60))
def test_anything_is_read_or_rejected(text: str) -> None:
    parsed(text.replace("\r", ""))


@pytest.mark.parametrize(("precision", "stamp"), [("ns", 10**9), ("us", 10**6), ("ms", 1000), ("s", 1)])
def test_precisions(precision: str, stamp: int) -> None:
    text = f"m f=1 {SECOND * stamp}\nm  f=2 {SECOND * stamp}\n"
    frame, rejects = parsed(text, precision=precision)
    assert frame["time"].dt.epoch("us").to_list() == [SECOND * 10**6] * 2
    assert not rejects


def test_a_timestamp_too_large_is_rejected_with_a_hint() -> None:
    frame, rejects = parsed(f"m f=1 {SECOND}000000000", precision="s")
    assert frame.is_empty()
    assert "is the precision right?" in rejects.lines()[0]


def test_one_bad_line_costs_no_other() -> None:
    text = 'm f=1 1000\nm f=x 1000\nm f=2\nm f="open 5000\nm f=3 3000\nnonsense\n\n# comment\nm f=4 4000'
    frame, rejects = parsed(text)
    assert frame["value"].to_list() == [1.0, 3.0, 4.0]
    assert frame["line"].to_list() == [1, 5, 9]
    assert [reject.line for reject in rejects.kept] == [2, 3, 4, 6]
    assert rejects.kept[1].reason == "no timestamp"


def test_a_missing_quote_does_not_swallow_the_rest() -> None:
    text = 'm f="open 1000\n' + "m f=1 1000\n" * 500
    for batch_bytes in (100, 1 << 20):
        frame, rejects = parsed(text, batch_bytes=batch_bytes)
        assert frame.height == 500
        assert [reject.line for reject in rejects.kept] == [1]


def test_bytes_that_are_no_text_cost_one_line() -> None:
    frame, rejects = parsed(b"m f=1 1000\nm\xff f=2 2000\nm f=3 3000\n", batch_bytes=5)
    assert frame["value"].to_list() == [1.0, 3.0]
    assert [(reject.line, reject.reason) for reject in rejects.kept] == [(2, "not UTF-8")]


def test_byte_order_mark_and_export_header() -> None:
    text = "\ufeff# INFLUXDB EXPORT: 1677\n# DDL\nCREATE DATABASE home WITH NAME autogen\n# DML\nm f=1 1000\n"
    frame, rejects = parsed(text)
    assert frame["value"].to_list() == [1.0]
    assert not rejects


def test_tags_are_sorted_and_escapes_are_regular() -> None:
    frame, _ = parsed("m\\ x,b=2,a=\\=1 f\\,g=1 1000\n")
    assert frame["point"].to_list() == ["m\\ x,a=\\=1,b=2 f\\,g"]


def test_a_line_without_an_end_is_no_line_protocol(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_protocol, "_MAX_LINE_BYTES", 1000)
    with pytest.raises(line_protocol.NotLineProtocolError, match="64 MB"):
        parsed("x" * 5000, batch_bytes=100)


def test_the_size_of_a_batch_changes_nothing() -> None:
    lines = [f'm,t={index % 3} f={index},g="a{index % 5}" {SECOND + index}000000000' for index in range(300)]
    text = "\n".join(lines)
    whole, _ = parsed(text)
    for batch_bytes in (50, 1000):
        assert_frame_equal(parsed(text, batch_bytes=batch_bytes)[0], whole)
