"""What others recorded becomes the raw integers that a poll would have brought."""

import json
import sqlite3
import struct
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hp_pipeline.simulation.devices.luxtronik import LuxtronikDevice
from hp_pipeline.simulation.devices.world import House
from hp_pipeline.sources.luxtronik.events import events_of
from hp_pipeline.sources.luxtronik.imports import RecordingError, encode, import_logger_cache, import_recording
from hp_pipeline.sources.luxtronik.source import readings_of
from hp_pipeline.sources.luxtronik.wire import Picture
from hp_pipeline.sources.readings import READINGS_SCHEMA, Rejects
from hp_pipeline.vocabulary.luxtronik import Group, Register, registers
from hp_pipeline_tests.simulation.devices.conftest import START
from hp_pipeline_tests.sources.luxtronik.conftest import CAPTURES

BERLIN = ZoneInfo("Europe/Berlin")
NOON = START + timedelta(hours=36)
# What the package `luxtronik` decodes with another scale, or does not decode at all, at the version that was used.
PACKAGE_SCALES = {852: 0.1, 854: 0.1, 878: 0.1, 879: 0.1}
PACKAGE_KNOWS_NOT = {Group.parameter: range(1086, 2000), Group.calculation: range(232, 2000)}


@pytest.fixture(scope="module")
def picture(house: House) -> Picture:
    return Picture(*LuxtronikDevice(house).values(NOON))


def packaged(register: Register, raw: int) -> object:
    """The value as the package decodes it and the logger writes it, at the house of the logger."""
    if register.kind == "number":
        scale = (
            PACKAGE_SCALES.get(register.index, register.scale) if register.group is Group.parameter else register.scale
        )
        return raw * scale + register.offset  # with the dust of binary fractions, as it did
    if register.kind == "time":
        return str(datetime.fromtimestamp(max(raw, 0), BERLIN).replace(tzinfo=None))
    meaning = register.decode(raw)
    return None if isinstance(meaning, str) and meaning.startswith("unknown_") else meaning


def cache_of(tmp_path: Path, polls: list[tuple[datetime, Picture]], **more: object) -> Path:
    path = tmp_path / "cache.db"
    table = registers()
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE sensor_data (timestamp REAL PRIMARY KEY, data_json TEXT NOT NULL)")
        for moment, picture in polls:
            told: dict[str, object] = {}
            for plural, group in zip(("parameters", "calculations", "visibilities"), Group, strict=True):
                for index, raw in enumerate(picture.values(group)):
                    register = table.register(group, index)
                    if register.kind == "unknown" or index in PACKAGE_KNOWS_NOT.get(group, ()):
                        name = str(index) if register.name.startswith("unknown") else register.name
                        told[f"{plural}.{index if index in PACKAGE_KNOWS_NOT.get(group, ()) else name}"] = raw
                    else:
                        told[f"{plural}.{register.name}"] = packaged(register, raw)
            connection.execute("INSERT INTO sensor_data VALUES (?, ?)", (moment.timestamp(), json.dumps(told | more)))
    return path


def expected(picture: Picture) -> dict[str, float | None]:
    return {reading.point: reading.value for reading in readings_of(picture)}


def test_a_logger_cache_gives_the_raw_integers_back(tmp_path: Path, picture: Picture) -> None:
    rejects = Rejects()
    cache = cache_of(tmp_path, [(NOON, picture)])
    frame = pl.concat(import_logger_cache(cache, rejects, time_zone="Europe/Berlin"))
    assert frame.schema == READINGS_SCHEMA
    found = dict(frame.filter(~pl.col("point").str.starts_with("event/")).select("point", "value").iter_rows())
    # A flag is a flag there: that it was another number than 0 or 1 is lost.
    flags = {register.point for register in registers() if register.kind == "flag"}
    wanted = {point: float(bool(raw)) if point in flags else raw for point, raw in expected(picture).items()}
    # What the package decodes to nothing (codes that it does not know, times and words that are none) is lost there.
    assert {point: found[point] for point in found} == {point: wanted[point] for point in found}
    assert len(found) > 0.97 * len(wanted)
    assert {"calculation/10", "parameter/854", "parameter/1136", "calculation/134", "calculation/91"} <= set(found)
    assert not {f"parameter/{index}" for index in range(755, 761)} & set(found)
    events = frame.filter(pl.col("point").str.starts_with("event/"))
    assert events.height == len(events_of(picture)) == 10


def test_a_long_cache_is_taken_change_by_change(tmp_path: Path, house: House) -> None:
    device = LuxtronikDevice(house)
    moments = [START + timedelta(hours=23, minutes=40, seconds=30 * place) for place in range(80)]
    polls = [(moment, Picture(*device.values(moment))) for moment in moments]
    rejects = Rejects()
    frames = list(import_logger_cache(cache_of(tmp_path, polls), rejects, time_zone="Europe/Berlin", rows=25))
    assert len(frames) == 4
    frame = pl.concat(frames)
    # Held values are those of every poll.
    for point in ("calculation/10", "parameter/1136", "calculation/80", "calculation/15"):
        group, index = point.split("/")
        told = dict(frame.filter(pl.col("point") == point).select("time", "value").iter_rows())
        held = None
        for moment, polled in polls:
            held = told.get(moment, held)
            assert held == float(polled.values(Group(group))[int(index)]), (point, moment)
    # Whole pictures: the first, the one after midnight, none else within half an hour.
    whole = frame.group_by("time").len().filter(pl.col("len") > 1000)["time"].sort().to_list()
    assert whole == [moments[0], START + timedelta(days=1)]


def test_a_cache_with_bad_rows_is_taken_without_them(tmp_path: Path, picture: Picture) -> None:
    cache = cache_of(
        tmp_path, [(NOON, picture)], **{"calculations.NoSuchName": 1, "calculations.ID_WEB_Temperatur_TA": "warm"}
    )
    with sqlite3.connect(cache) as connection:
        connection.executemany(
            "INSERT INTO sensor_data VALUES (?, ?)", [(1.0, "{"), (2.0, "[]"), (1e300, "{}"), ("x", "{}")]
        )
    rejects = Rejects()
    frame = pl.concat(import_logger_cache(cache, rejects))
    assert frame.filter(point="calculation/15").is_empty()
    assert frame.height > 1500
    assert rejects.counts["a poll that cannot be read"] == 4
    assert rejects.counts["the name of no register"] == 1


def test_files_that_are_no_cache_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="is not there"):
        list(import_logger_cache(tmp_path / "none.db", Rejects()))
    (tmp_path / "text.db").write_text("not a database at all, " * 100)
    with pytest.raises(RecordingError, match="no cache of luxtronik-logger"):
        list(import_logger_cache(tmp_path / "text.db", Rejects()))


def frames_of(picture: Picture) -> dict[str, bytes]:
    return {
        "3003": struct.pack(f">ii{len(picture.parameters)}i", 3003, len(picture.parameters), *picture.parameters),
        "3004": struct.pack(
            f">iii{len(picture.calculations)}i", 3004, 0, len(picture.calculations), *picture.calculations
        ),
        "3005": struct.pack(f">ii{len(picture.visibilities)}b", 3005, len(picture.visibilities), *picture.visibilities),
    }


def test_raw_answers_and_integers_in_json(tmp_path: Path, picture: Picture) -> None:
    folder = tmp_path / "capture"
    folder.mkdir()
    for command, frame in frames_of(picture).items():
        (folder / f"pump_{command}").write_bytes(frame)
    values = {
        command: list(picture.values(group)) for command, group in zip(("3003", "3004", "3005"), Group, strict=True)
    }
    (tmp_path / "dump.json").write_text(json.dumps(values))
    readings = [import_recording(path, Rejects()) for path in (folder, folder / "pump_3004", tmp_path / "dump.json")]
    assert readings[0].equals(readings[1])
    assert readings[0].equals(readings[2])
    plain = readings[0].filter(~pl.col("point").str.starts_with("event/"))
    assert dict(plain.select("point", "value").iter_rows()) == expected(picture)
    assert plain["time"].unique().to_list() == [NOON]
    later = import_recording(folder, Rejects(), time=NOON + timedelta(days=1))
    assert later.filter(~pl.col("point").str.starts_with("event/"))["time"].unique().to_list() == [
        NOON + timedelta(days=1)
    ]


def test_a_text_dump(tmp_path: Path) -> None:
    lines = [
        "=" * 80, f"{' Parameter ': ^80}", "=" * 80,
        f"Number: {2:<5} Name: {'ID_Einst_BWS_akt':<60} Type: {'Celsius':<20} Value: 48.0",
        f"Number: {854:<5} Name: {'ID_Waermemenge_Hz':<60} Type: {'Energy':<20} Value: 87727.0",
        f"Number: {1136:<5} Name: {'Unknown_Parameter_1136':<60} Type: {'Unknown':<20} Value: 12345",
        f"Number: {755:<5} Name: {'ID_WebserverPasswort_1_akt':<60} Type: {'Unknown':<20} Value: 9",
        "=" * 80, f"{' Calculations ': ^80}", "=" * 80,
        f"Number: {10:<5} Name: {'ID_WEB_Temperatur_TVL':<60} Type: {'Celsius':<20} Value: 34.2",
        f"Number: {44:<5} Name: {'ID_WEB_VD1out':<60} Type: {'Bool':<20} Value: True",
        f"Number: {80:<5} Name: {'ID_WEB_WP_BZ_akt':<60} Type: {'OperationMode':<20} Value: evu",
        f"Number: {81:<5} Name: {'ID_WEB_SoftStand':<60} Type: {'Version':<20} Value: V3.88.0",
        f"Number: {134:<5} Name: {'ID_WEB_AktuelleTimeStamp':<60} Type: {'Timestamp':<20} Value: 2024-01-16 13:00:00",
        f"Number: {15:<5} Name: {'ID_WEB_Temperatur_TA':<60} Type: {'Celsius':<20} Value: cold",
        "=" * 80, f"{' Visibilities ': ^80}", "=" * 80,
        f"Number: {1:<5} Name: {'ID_Visi_Kaelte':<60} Type: {'Unknown':<20} Value: 1",
    ]  # fmt: skip
    path = tmp_path / "dump.txt"
    path.write_text("\n".join(lines))
    rejects = Rejects()
    frame = import_recording(path, rejects, time_zone="Europe/Berlin")
    found = dict(frame.select("point", "value").iter_rows())
    assert found["parameter/2"] == 480.0
    assert found["parameter/854"] == 877270.0  # the package's scale is wrong, the integer is right
    assert found["parameter/1136"] == 12345.0
    assert found["calculation/10"] == 342.0
    assert (found["calculation/44"], found["calculation/80"], found["visibility/1"]) == (1.0, 3.0, 1.0)
    assert found["calculation/82"] == float(ord("3"))
    assert frame["time"].unique().to_list() == [NOON]
    assert "parameter/755" not in found
    assert rejects.counts["not a value of its register"] == 1


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("x.json", b'{"3003": []}', "no list of integers under '3004'"),
        ("x.json", b'{"3003": ["a"]}', "no list of integers under '3003'"),
        ("x.json", b"{", "not valid JSON"),
        ("x.txt", b"hello", "no dump"),
        ("x.bin", b"\xff\xfe\xfd", "neither JSON nor a text dump"),
        ("x_3003", b"123", "no answer to 3003"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(RecordingError, match=says):
        import_recording(tmp_path / name, Rejects())


def test_recordings_without_a_clock_need_a_time(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(json.dumps({"3003": [1], "3004": [1], "3005": [1]}))
    with pytest.raises(RecordingError, match="Give the time"):
        import_recording(tmp_path / "x.json", Rejects())
    assert import_recording(tmp_path / "x.json", Rejects(), time=NOON).height == 3


def test_the_recordings_at_hand(v1_80: dict[int, bytes], v3_78: dict[int, bytes]) -> None:
    first = import_recording(CAPTURES / "coolchip_3003", Rejects())
    assert first.filter(point="calculation/10")["value"].to_list() == [342.0]
    assert first.filter(point="calculation/10")["time"].to_list() == [datetime(2017, 7, 26, 11, 40, 33, tzinfo=UTC)]
    second = import_recording(CAPTURES / "bouni_2016.json", Rejects())
    assert second.filter(point="parameter/854")["value"].to_list() == [877270.0]
    assert second.filter(pl.col("point").str.starts_with("event/")).height == 10


@given(
    st.sampled_from(list(registers())),
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.lists(st.integers(), max_size=2),
)
def test_any_value_is_encoded_or_not(register: Register, value: object) -> None:
    raw = encode(register, value, scale=register.scale, zone=BERLIN)
    assert raw is None or -(2**31) <= raw < 2**32


@given(st.sampled_from(list(registers())), st.integers(-(2**31), 2**31 - 1))
def test_what_was_decoded_is_encoded_to_the_same(register: Register, raw: int) -> None:
    value = register.decode(raw)
    if value is None or register.kind in ("flag", "character") or isinstance(value, datetime):
        return
    again = encode(register, value, scale=register.scale, zone=BERLIN)
    assert again is not None
    assert register.decode(again) == value
