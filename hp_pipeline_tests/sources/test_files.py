"""Files in every shape, and every way that they can be wrong."""

from __future__ import annotations

import gzip
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from hp_pipeline.settings.sources import FilesSource
from hp_pipeline.sources import files
from hp_pipeline.sources.file_times import SKIPPED_BY_CLOCK, TimeReader, guess_format
from hp_pipeline.sources.files import FileError, FileResult, read_file

NOW = datetime(2025, 1, 1, tzinfo=UTC)
START = date(2024, 1, 1)
RECORDINGS = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "daikin_home_assistant"


def read(path: Path, content: str | bytes, **settings: object) -> tuple[pl.DataFrame, FileResult]:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    result = opened(path, **settings)
    return result.frame(), result


def opened(path: Path, **settings: object) -> FileResult:
    source = FilesSource.model_validate({"id": "old", **settings})
    return read_file(path, source, start=START, now=NOW)


def rows(frame: pl.DataFrame) -> list[tuple]:
    return frame.with_columns(pl.col("time").dt.strftime("%m-%d %H:%M:%S")).rows()


EXPECTED = [
    ("flow", "05-01 08:00:00", 1234.5, None),
    ("flow", "05-01 08:00:30", -0.5, None),
    ("mode", "05-01 08:00:00", None, "Heating"),
]
GERMAN = {"separator": ";", "decimal": ",", "thousands": ".", "time_zone": "Europe/Berlin"}
GERMAN_TIMES = {**GERMAN, "time_format": "%d.%m.%Y %H:%M:%S"}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("line_break", ["\n", "\r\n"])
def test_long_csv_as_german_programs_write_it(tmp_path: Path, encoding: str, line_break: str) -> None:
    lines = [
        "Zeit;Größe;Wert;Bemerkung",
        "01.05.2024 10:00:00;flow;1.234,5;",
        "01.05.2024 10:00:30; flow ;-,5;",
        "",
        "01.05.2024 10:00:00;mode;-;Heating",
        "01.05.2024 10:00:30;mode;unknown;",
    ]
    columns = {"time": "Zeit", "point": "Größe", "value": "Wert", "text": "Bemerkung"}
    settings = {**GERMAN_TIMES, "columns": columns, "encoding": encoding.removesuffix("-sig")}
    frame, result = read(tmp_path / "a.csv", line_break.join(lines).encode(encoding), **settings)
    assert rows(frame) == EXPECTED
    assert not result.rejects
    assert (result.rows, result.readings) == (4, 3)
    assert result.first == datetime(2024, 5, 1, 8, tzinfo=UTC)
    assert result.last == datetime(2024, 5, 1, 8, 0, 30, tzinfo=UTC)


def test_wide_csv(tmp_path: Path) -> None:
    content = "sep=;\nZeit;flow;mode;\n2024-05-01T10:00;1.234,5;Heating;\n2024-05-01 10:00:30;-0,5;;\n;;;\n"
    settings = {**GERMAN, "layout": "wide", "columns": {"time": "Zeit"}}
    frame, result = read(tmp_path / "a.csv", content, **settings)
    assert rows(frame) == EXPECTED
    assert not result.rejects
    settings["columns"] = {"time": "Zeit", "points": ["mode"]}
    frame, _ = read(tmp_path / "a.csv", content, **settings)
    assert rows(frame) == EXPECTED[2:]


def test_quoted_cells(tmp_path: Path) -> None:
    content = (
        'time,point,value\n"2024-05-01T08:00:00Z","flow, ""supply""","21.5"\n'
        '2024-05-01T08:00:01Z,"two\nlines",OFF\n2024-05-01T08:00:02Z,bad,1,2\n2024-05-01T08:00:03Z,c,3\n'
    )
    frame, result = read(tmp_path / "a.csv", content)
    assert rows(frame) == [
        ("c", "05-01 08:00:03", 3.0, None),
        ('flow, "supply"', "05-01 08:00:00", 21.5, None),
        ("two\nlines", "05-01 08:00:01", None, "OFF"),
    ]
    assert result.rejects.lines() == ["line 5: not 3 cells as in the header (found: 2024-05-01T08:00:02Z,bad,1,2)"]


def test_parquet_long_and_wide(tmp_path: Path) -> None:
    times = [datetime(2024, 5, 1, 8, tzinfo=UTC), datetime(2024, 5, 1, 8, 0, 30, tzinfo=UTC)]
    wide = pl.DataFrame({"time": times, "flow": [1234.5, -0.5], "mode": ["Heating", None], "on": [True, None]})
    wide.write_parquet(tmp_path / "wide.parquet")
    frame = opened(tmp_path / "wide.parquet", layout="wide").frame()
    assert rows(frame) == [*EXPECTED, ("on", "05-01 08:00:00", None, "true")]
    frame.write_parquet(tmp_path / "long.parquet")
    assert_frame_equal(opened(tmp_path / "long.parquet").frame(), frame)
    local = wide.with_columns(pl.col("time").dt.convert_time_zone("Europe/Berlin").dt.replace_time_zone(None))
    local.write_parquet(tmp_path / "local.parquet")
    assert_frame_equal(opened(tmp_path / "local.parquet", layout="wide", time_zone="Europe/Berlin").frame(), frame)
    stamps = wide.with_columns(pl.col("time").dt.epoch("ms"))
    stamps.write_parquet(tmp_path / "stamps.parquet")
    assert_frame_equal(opened(tmp_path / "stamps.parquet", layout="wide", time_format="unix_ms").frame(), frame)
    with pytest.raises(FileError, match='time_format: "unix_ms"'):
        opened(tmp_path / "stamps.parquet", layout="wide").frame()


def test_line_protocol_packed_and_shifted(tmp_path: Path) -> None:
    content = gzip.compress(b'm,t=a f=1.5,g="ON" 1714554000\nbad\n')
    frame, result = read(tmp_path / "a.lp.gz", content, time_format="unix_s", time_shift="-1h")
    assert rows(frame) == [("m,t=a f", "05-01 08:00:00", 1.5, None), ("m,t=a g", "05-01 08:00:00", None, "ON")]
    assert result.rows == 2
    assert result.rejects.lines() == ["line 2: no fields (found: bad)"]


@pytest.mark.parametrize(
    ("written", "time_format", "zone"),
    [
        ("2024-05-01T08:00:00Z", "iso", "Europe/Berlin"),
        ("2024-05-01 10:00:00.000+02:00", "iso", "UTC"),
        ("2024-05-01 10:00+0200", "iso", "UTC"),
        ("2024-05-01 10:00", "iso", "Europe/Berlin"),
        ("2024-04-30T22:30:00-09:30", "iso", "UTC"),
        ("1714550400", "unix_s", "Europe/Berlin"),
        ("1714550400.0", "unix_s", "UTC"),
        ("1714550400000", "unix_ms", "UTC"),
        ("1714550400000000", "unix_us", "UTC"),
        ("1714550400000000999", "unix_ns", "UTC"),
        ("01.05.24 10:00", "%d.%m.%y %H:%M", "Europe/Berlin"),
        ("05/01/2024 08:00:00 AM", "%m/%d/%Y %I:%M:%S %p", "UTC"),
        ("2024-05-01 10:00:00 +0200", "%Y-%m-%d %H:%M:%S %z", "UTC"),
        ("01.05.2024 10:00:00.000", "%d.%m.%Y %H:%M:%S.%f", "Europe/Berlin"),
    ],
)
def test_ways_to_write_a_time(tmp_path: Path, written: str, time_format: str, zone: str) -> None:
    content = f"time,point,value\n{written},a,1\n"
    frame, _ = read(tmp_path / "a.csv", content, time_format=time_format, time_zone=zone)
    assert frame["time"].to_list() == [datetime(2024, 5, 1, 8, tzinfo=UTC)]


BERLIN = ZoneInfo("Europe/Berlin")


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.integers(0, 6 * 3600), min_size=1, max_size=60, unique=True),
    st.integers(1, 3),
    st.booleans(),
    st.booleans(),
    st.integers(1, 30),
)
def test_the_hour_that_happens_twice(
    seconds: list[int], points: int, descending: bool, by_point: bool, batch: int
) -> None:
    """With readings at least every 50 minutes through the change, each gets its own time back."""
    base = datetime(2024, 10, 26, 22, tzinfo=UTC)  # two hours before the clock is put back
    stamps = sorted({*seconds, *range(0, 6 * 3600, 3000)})
    series = [(base + timedelta(seconds=one), f"p{point}") for point in range(points) for one in stamps]
    series.sort(key=lambda one: (one[1], one[0]) if by_point else (one[0], one[1]), reverse=descending)
    truth = pl.Series([time for time, _ in series], dtype=pl.Datetime("us", "UTC"))
    wall = pl.Series([time.astimezone(BERLIN).strftime("%Y-%m-%d %H:%M:%S") for time, _ in series])
    names = pl.Series([point for _, point in series])
    reader = TimeReader("iso", "Europe/Berlin", timedelta(0))
    size = max(batch, 200 if by_point or descending else batch)
    found = [reader.read(wall[at : at + size], names[at : at + size])[0] for at in range(0, len(series), size)]
    assert pl.concat(found).to_list() == truth.to_list()


def test_an_hour_that_may_be_either_is_the_earlier_one(tmp_path: Path) -> None:
    content = "time,point,value\n2024-10-27 02:30,a,1\n2024-10-27 02:40,a,2\n"
    frame, _ = read(tmp_path / "a.csv", content, time_zone="Europe/Berlin")
    assert [time.hour for time in frame["time"]] == [0, 0]


def test_the_hour_that_does_not_happen_is_rejected(tmp_path: Path) -> None:
    content = "time,point,value\n2024-03-31 01:59,a,1\n2024-03-31 02:30,a,2\n2024-03-31 03:00,a,3\n"
    frame, result = read(tmp_path / "a.csv", content, time_zone="Europe/Berlin")
    assert [time.strftime("%H:%M") for time in frame["time"]] == ["00:59", "01:00"]
    assert result.rejects.lines() == [f"line 3, a: {SKIPPED_BY_CLOCK} (found: 2024-03-31 02:30)"]


@pytest.mark.parametrize(
    ("content", "settings", "line", "reason", "remedy"),
    [
        ("", {}, None, "the file is empty", "Export it again"),
        ("\n \n", {}, None, "there is no text in it", "Export"),
        ("time,point,value\n", {}, None, "there is no row of data in it", "Export"),
        (
            "Zeit;Punkt;Wert\n1;2;3\n",
            {},
            1,
            "one column found ('Zeit;Punkt;Wert') with the separator ','",
            'Set `separator: ";"` of source old',
        ),
        (
            "time,Point_name,value\n1,2,3\n",
            {"columns": {"point": "pointname"}},
            1,
            "no column 'pointname' for the point; columns found: 'time', 'Point_name', 'value'",
            "Set `columns: {point: Point_name}` of source old",
        ),
        ("time,value,value,point\n1,2,3,4\n", {}, 1, "several columns are called 'value'", "a name of its own"),
        ("time,a,a\n1,2,3\n", {"layout": "wide"}, 1, "several columns are called 'a'", "`points`"),
        (
            "time,a,b\n1,2,3\n",
            {"layout": "wide", "columns": {"points": ["a", "bb"]}},
            1,
            "no column 'bb' for the points",
            "columns: {points: [b, …]}",
        ),
        (
            "time,point,value\n01.05.2024 10:00,a,1\n",
            {},
            2,
            "the time '01.05.2024 10:00' is not written as 'iso' says",
            'Set `time_format: "%d.%m.%Y %H:%M"`',
        ),
        (
            "time,point,value\n2024-05-01 10:00,a,1\n".encode("cp1252") + "2024-05-01 10:00,Rück,1\n".encode("cp1252"),
            {},
            3,
            "this is not text in utf-8",
            "cp1252",
        ),
        ("time,point,value\n2024-05-01 10:00,a\0b,1\n", {}, 2, "this is not text in utf-8", "utf-16"),
        ('time,point,value\n2024-05-01,a,1\n2024-05-01,"b,1\n', {}, 3, "this is no CSV", "quote"),
        (b"PAR1 and then nothing", {"format": "parquet"}, None, "no complete Parquet file", "cut short"),
        (b"\x1f\x8b\x08\x00\x00", {"name": "a.csv.gz"}, None, "gzip file is damaged", "again"),
        ("x", {"name": "a.xlsx"}, None, "its ending says no format", "`format:`"),
        ("m f=1 1714550400\n", {"name": "a.lp"}, 1, "not in ns", "`time_format: unix_s`"),
        ("m f=1 1\n", {"name": "a.lp", "time_format": "%Y"}, None, "no times written as %Y", "unix_ns"),
    ],
)
def test_a_file_that_cannot_be_taken(
    tmp_path: Path, content: str | bytes, settings: dict, line: int | None, reason: str, remedy: str
) -> None:
    path = tmp_path / settings.pop("name", "a.csv")
    with pytest.raises(FileError) as caught:
        read(path, content, **settings)
    assert caught.value.line == line
    assert reason in caught.value.reason
    assert remedy in caught.value.remedy
    assert str(path) in str(caught.value)


def test_a_parquet_file_cut_short(tmp_path: Path) -> None:
    whole = tmp_path / "whole.parquet"
    times = pl.datetime_range(datetime(2024, 5, 1, tzinfo=UTC), NOW, "1h", eager=True)
    pl.DataFrame({"time": times, "point": "a", "value": 1.0}).write_parquet(whole)
    content = whole.read_bytes()
    with pytest.raises(FileError, match="no complete Parquet file"):
        read(tmp_path / "cut.parquet", content[: len(content) // 2])
    # The directory at the end is whole and the data are not.
    with pytest.raises(FileError, match="Parquet file"):
        read(tmp_path / "torn.parquet", content[:4] + b"\xff" * 200 + content[204:])


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="No such file"):
        opened(tmp_path / "gone.csv")


def test_bad_rows_are_named_and_the_good_ones_kept(tmp_path: Path) -> None:
    content = (
        'time,point,value,text\n2024-05-01 08:00,a,1,\n2024-05-01 08:01,a,OFF,\n2024-05-01 08:02,a,"1,5",\n'
        "2024-05-01 08:03,a,nan,\n1970-01-01 00:00,a,5,\n2030-01-01 00:00,a,6,\n2024-13-01,a,7,\n,a,8,\n"
        "2024-05-01 08:08,,9,\n2024-05-01 08:09,a\n2024-05-01 08:10,a,10,\n"
    )
    frame, result = read(tmp_path / "a.csv", content)
    assert frame["value"].to_list() == [1.0, 10.0]
    found = [(reject.line, reject.reason) for reject in sorted(result.rejects.kept, key=lambda one: one.line or 0)]
    assert found == [
        (3, "not a number"),
        (4, files.OTHER_NOTATION),
        (5, "not a number"),
        (6, "time before the site's start 2024-01-01"),
        (7, "time in the future"),
        (8, "time not understood"),
        (9, "no time"),
        (10, "no name of a point"),
        (11, "not 4 cells as in the header"),
    ]
    assert result.rows == 11


def test_a_thousands_point_is_not_mistaken_for_a_decimal_point(tmp_path: Path) -> None:
    content = "time;point;value\n2024-05-01;a;21.5\n2024-05-01;b;1.234\n2024-05-01;c;12.34,5\n2024-05-01;d;1234,5\n"
    frame, result = read(tmp_path / "a.csv", content, **GERMAN)
    assert dict(zip(frame["point"], frame["value"], strict=True)) == {"b": 1234.0, "d": 1234.5}
    assert [reject.line for reject in result.rejects.kept] == [2, 4]


@pytest.mark.parametrize("name", ["1.2.3", "192.168.0.1", "V3.78", "2024-05-01", "12:30"])
def test_names_with_digits_are_texts(tmp_path: Path, name: str) -> None:
    frame, result = read(tmp_path / "a.csv", f"time;point;value\n2024-05-01;a;{name}\n", **GERMAN)
    assert frame["text"].to_list() == [name]
    assert not result.rejects


def test_only_wanted_points(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("time,point,value\n2024-05-01,a,1\n2024-05-01,b,2\n")
    result = read_file(path, FilesSource(id="old"), start=START, now=NOW, wanted=lambda point: point == "b")
    assert result.frame()["point"].to_list() == ["b"]


def test_blocks_and_batches_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = datetime(2024, 10, 26, 20, tzinfo=UTC)
    lines = [
        f"{(base + timedelta(minutes=minute)).astimezone(BERLIN):%Y-%m-%d %H:%M},p{minute % 3},{minute}"
        for minute in range(600)
    ]
    content = "\n".join(["time,point,value", *lines]).encode()
    for quote in (b"", b'\n2024-10-28 10:00,"q",1'):
        whole, _ = read(tmp_path / "a.csv", content + quote, time_zone="Europe/Berlin")
        assert whole.height == 600 + bool(quote)
        with monkeypatch.context() as patch:
            patch.setattr(files, "_BLOCK_CHARACTERS", 1000)
            patch.setattr(files, "_CELLS_PER_BATCH", 10)
            parts, _ = read(tmp_path / "a.csv", content + quote, time_zone="Europe/Berlin")
        assert_frame_equal(parts, whole)


@pytest.mark.parametrize("text", ["", "x", "2024", "12", "99.99.9999"])
def test_what_is_no_time_is_not_guessed(text: str) -> None:
    assert guess_format(text) is None


@pytest.mark.skipif(not RECORDINGS.is_dir(), reason="the recordings are not there")
def test_recordings_of_a_daikin() -> None:
    columns = {"time": "time_utc", "point": "source_name", "value": "value_float", "text": "value_str"}
    sizes = {}
    for path in sorted(RECORDINGS.glob("*.long.parquet")):
        result = opened(path, columns=columns)
        sizes[path.name.partition(".")[0]] = result.frame().height
        assert not result.rejects
    assert sizes == {"defrost_during_ch": 48_709, "dhw_defrost_during_ch": 47_383, "dhw_before_defrost_in_ch": 48_505}
    sample = opened(RECORDINGS / "sample_ha_influx.lp")
    assert sample.frame().height == 397
    assert not sample.rejects
