"""Jobs, run in this process: files good and bad, a real InfluxDB that comes and goes, upkeep of the storage."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from hp_pipeline.assets import readings as readings_module
from hp_pipeline.assets.describe import asset_key
from hp_pipeline.assets.partitions import BEAT
from hp_pipeline.assets.readings import KEPT_UP_UNTIL, SINCE, take_in_files
from hp_pipeline.assets.stages import store_readings
from hp_pipeline.assets.workspace import Workspace
from hp_pipeline.automation.sensors import INCLUDES_FIGURES
from hp_pipeline.lake import Receipt
from hp_pipeline.settings import FilesSource
from hp_pipeline.sources import drop_folder
from hp_pipeline.sources.errors import SourceError
from hp_pipeline_tests.assets.small_house import (
    DAYS,
    FIRST,
    LAST,
    contents,
    house_with_readings,
    make_all,
    readings,
    run_job,
    write_house,
)
from hp_pipeline_tests.sources.influx_server import PASSWORD, USER, InfluxServer

FILES_A = asset_key("readings", "files_a")
INFLUX = asset_key("readings", "influx")


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files count as written to their end at once."""
    monkeypatch.setattr(drop_folder, "SETTLED_AFTER", timedelta(0))


def waiting(workspace: Workspace) -> Path:
    folder = workspace.data / "drop" / "files_a"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def message_of(result: dg.ExecuteInProcessResult) -> str:
    """Why the run failed."""
    (event,) = result.get_step_failure_events()
    return str(event.step_failure_data.error)


def test_a_bad_file_does_not_keep_the_good_ones_from_being_taken_in(
    tmp_path: Path, instance: dg.DagsterInstance, settled: None
) -> None:
    workspace = write_house(tmp_path)
    folder = waiting(workspace)
    half = readings().height // 2
    readings()[:half].write_parquet(folder / "a_good.parquet")
    (folder / "b_bad.parquet").write_bytes(b"PAR1 this is none")
    (folder / "c_empty.parquet").write_bytes(b"")
    readings()[half:].write_parquet(folder / "d_good.parquet")
    (folder / "e_unfinished.parquet.part").write_bytes(b"PAR1")
    nan = readings()[:3].with_columns(value=pl.lit(float("nan")), text=pl.lit(None, pl.String))
    nan.write_parquet(folder / "f_nan.parquet")

    result = run_job(workspace, "take_in_files_a", instance)
    assert not result.success
    message = message_of(result)
    assert "3 of 5 files were refused, all others were taken in" in message
    for name in ("b_bad.parquet", "c_empty.parquet", "f_nan.parquet"):
        assert name in message
        assert (workspace.quarantine / "files_a" / name).exists()
        report = (workspace.quarantine / "files_a" / f"{name}.report.txt").read_text()
        assert "Remedy:" in report
    assert sorted(path.name for path in folder.iterdir()) == ["e_unfinished.parquet.part"]
    assert instance.get_materialized_partitions(FILES_A) == set(DAYS)
    whole = house_with_readings(tmp_path / "whole", ["files_a"])
    assert contents(workspace.lake) == contents(whole.lake)


def test_overlapping_and_repeated_files_change_nothing(
    tmp_path: Path, instance: dg.DagsterInstance, settled: None
) -> None:
    workspace = write_house(tmp_path)
    folder = waiting(workspace)
    rows = readings().height
    for number, (first, last) in enumerate(
        [(0, rows // 2), (rows // 3, rows), (0, rows), (rows // 2, rows // 2 + 500)]
    ):
        readings()[first:last].write_parquet(folder / f"{number}.parquet")
        assert run_job(workspace, "take_in_files_a", instance).success
    whole = house_with_readings(tmp_path / "whole", ["files_a"])
    assert contents(workspace.lake) == contents(whole.lake)
    before = contents(workspace.lake)
    readings().write_parquet(folder / "again.parquet")
    assert run_job(workspace, "take_in_files_a", instance).success
    assert contents(workspace.lake) == before


def test_who_dies_in_the_midst_is_told_of_every_day_the_next_time(
    tmp_path: Path, instance: dg.DagsterInstance, settled: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Readings were stored, nobody was told, the file still waits: its days are told when it is taken in again."""
    workspace = write_house(tmp_path)
    readings().write_parquet(waiting(workspace) / "a.parquet")
    source = workspace.settings.source("files_a")
    assert isinstance(source, FilesSource)

    class PowerCut(BaseException):
        pass

    def cut(path: Path, key: str, changed: bool) -> None:
        raise PowerCut

    with pytest.raises(PowerCut):
        paths = [waiting(workspace) / "a.parquet"]
        list(take_in_files(workspace, source, paths, datetime.now(UTC), touched=cut))
    assert workspace.lake.keys("readings/files_a") == list(DAYS)
    assert instance.get_materialized_partitions(FILES_A) == set()
    assert run_job(workspace, "take_in_files_a", instance).success
    assert instance.get_materialized_partitions(FILES_A) == set(DAYS)


def test_a_damaged_partition_lets_its_file_wait_and_the_others_pass(
    tmp_path: Path, instance: dg.DagsterInstance, settled: None
) -> None:
    workspace = write_house(tmp_path)
    damaged = workspace.lake.path("readings/files_a", "2025-01-13")
    damaged.parent.mkdir(parents=True)
    damaged.write_bytes(b"what a dying disk leaves")
    day = pl.col("time").dt.date()
    readings().filter(day == date(2025, 1, 13)).write_parquet(waiting(workspace) / "a.parquet")
    readings().filter(day != date(2025, 1, 13)).write_parquet(waiting(workspace) / "b.parquet")
    result = run_job(workspace, "take_in_files_a", instance)
    assert not result.success
    assert "1 of 2 files could not be stored and wait where they are" in message_of(result)
    assert str(damaged) in message_of(result)
    assert [path.name for path in waiting(workspace).iterdir()] == ["a.parquet"]
    assert instance.get_materialized_partitions(FILES_A) == {"2025-01-14", "2025-01-15"}
    damaged.unlink()
    assert run_job(workspace, "take_in_files_a", instance).success
    assert contents(workspace.lake) == contents(house_with_readings(tmp_path / "whole", ["files_a"]).lake)


def test_maintenance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = write_house(tmp_path)
    home = tmp_path / "dagster"
    home.mkdir()
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    with dg.DagsterInstance.local_temp(str(home)) as instance:
        assert run_job(workspace, "maintenance", instance).success


SETTINGS = """\
site: {name: House, time_zone: Europe/Berlin, start: 2025-01-12}
heat_pumps:
  - id: daikin
    frame_interval: 60s
    inputs: [{source: influx, profile: espaltherma_home_assistant}]
sources:
  - {id: influx, kind: influxdb, version: 1, url: "URL", database: DB, username: USER, password: "${HP_PASSWORD}",
     timeout: 20s}
"""


def line_protocol(rows: pl.DataFrame) -> str:
    """Readings as Home Assistant writes them to an InfluxDB 1."""
    lines = []
    for point, time, value, text in rows.iter_rows():
        series, field = split_point(point)
        content = f"{value!r}" if value is not None else '"' + text.replace('"', '\\"') + '"'
        lines.append(f"{series} {field}={content} {int(time.timestamp() * 1e6)}")
    return "\n".join(lines)


def split_point(point: str) -> tuple[str, str]:
    """Series and field: the first space that is not escaped lies between them."""
    at = next(place for place, sign in enumerate(point) if sign == " " and point[place - 1] != "\\")
    return point[:at], point[at + 1 :]


def influx_house(folder: Path, server: InfluxServer, database: str) -> Workspace:
    settings = SETTINGS.replace("URL", server.url).replace("DB", database).replace("USER", USER)
    return write_house(folder, settings)


def keep_up(workspace: Workspace, instance: dg.DagsterInstance, since: datetime) -> dg.ExecuteInProcessResult:
    """A beat over the days of the readings."""
    tags = {BEAT: "keep up", INCLUDES_FIGURES: "yes", SINCE: since.isoformat()}
    return run_job(workspace, "keep_up_influx", instance, first=FIRST, last=LAST, tags=tags)


def test_keep_up_with_a_real_influxdb(
    tmp_path: Path, instance: dg.DagsterInstance, influx_server: InfluxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Home Assistant's readings come through a real server, as if they had come in a file: the same figures."""
    monkeypatch.setenv("HP_PASSWORD", PASSWORD)
    influx_server.create_database("keep_up")
    workspace = influx_house(tmp_path / "influx", influx_server, "keep_up")
    noon = datetime(2025, 1, 14, 12, tzinfo=UTC)
    start = datetime(2025, 1, 13, tzinfo=UTC)
    first = readings().filter(pl.col("time") < noon)
    assert influx_server.write("keep_up", line_protocol(first), "us").status_code == 204
    assert keep_up(workspace, instance, start).success
    assert workspace.lake.keys("daily/daikin") == ["2025-01-13", "2025-01-14"]

    # Later readings, and some that had come late; only the last two hours before noon are asked for again.
    rest = readings().filter(pl.col("time") >= noon)
    assert influx_server.write("keep_up", line_protocol(rest), "us").status_code == 204
    result = keep_up(workspace, instance, noon - timedelta(hours=2))
    assert result.success
    newest = instance.get_latest_materialization_event(INFLUX)
    assert newest is not None
    assert newest.asset_materialization is not None
    told = newest.asset_materialization.metadata
    assert told["asked_from"].value == "2025-01-14T10:00:00+00:00"
    assert told[KEPT_UP_UNTIL].value == "2025-01-16T00:00:00+00:00"

    plain = write_house(tmp_path / "plain", (tmp_path / "influx" / "hp.yaml").read_text())
    store_readings(plain, "influx", readings())
    make_all(plain)
    ours, theirs = contents(workspace.lake), contents(plain.lake)
    assert ours == theirs


def test_a_beat_that_fails_in_the_midst_tells_what_it_stored(
    tmp_path: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HP_PASSWORD", "any")
    workspace = write_house(tmp_path, SETTINGS.replace("URL", "http://127.0.0.1:1"))
    asked: list[tuple[datetime, datetime]] = []

    def pull(
        workspace: Workspace, source: object, start: datetime, stop: datetime, rejects: object
    ) -> Iterator[dict[str, Receipt]]:
        asked.append((start, stop))
        rows = readings().filter(pl.col("time").is_between(start, stop, closed="left"))
        if len(asked) == 3:
            raise SourceError("influx", "the server went away", "start it again")
        yield store_readings(workspace, "influx", rows)

    monkeypatch.setattr(readings_module, "pull", pull)
    monkeypatch.setattr(readings_module, "SLICE", timedelta(days=1))
    result = keep_up(workspace, instance, datetime(2025, 1, 13, tzinfo=UTC))
    assert not result.success
    assert "went away" in message_of(result)
    assert instance.get_materialized_partitions(INFLUX) == {"2025-01-13", "2025-01-14"}
    newest = instance.get_latest_materialization_event(INFLUX)
    assert newest is not None
    assert newest.asset_materialization is not None
    assert newest.asset_materialization.metadata[KEPT_UP_UNTIL].value == "2025-01-15T00:00:00+00:00"


@pytest.mark.parametrize(
    ("password", "database", "url", "says"),
    [
        ("wrong", "denied", None, "password"),
        (PASSWORD, "not_there", None, "not_there"),
        (PASSWORD, "denied", "http://127.0.0.1:1", "127.0.0.1:1"),
    ],
)
def test_an_influxdb_that_does_not_answer_is_named(
    tmp_path: Path,
    instance: dg.DagsterInstance,
    influx_server: InfluxServer,
    monkeypatch: pytest.MonkeyPatch,
    password: str,
    database: str,
    url: str | None,
    says: str,
) -> None:
    monkeypatch.setenv("HP_PASSWORD", password)
    if database == "denied":
        influx_server.create_database("denied")
    settings = SETTINGS.replace("URL", url or influx_server.url).replace("DB", database).replace("USER", USER)
    workspace = write_house(tmp_path, settings)
    result = keep_up(workspace, instance, datetime(2025, 1, 14, tzinfo=UTC))
    assert not result.success
    message = message_of(result)
    assert "influx" in message
    assert says in message
    assert PASSWORD not in message
