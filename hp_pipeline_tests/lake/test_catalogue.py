"""The database that people open: always there, always new, never in anybody's way."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from hp_pipeline.lake import Lake, StorageError
from hp_pipeline_tests.lake.tables import DAYS, described, publish, rows
from hp_pipeline_tests.lake.test_partitions import start


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "hp.duckdb"


def ask(database: Path, query: str) -> list[tuple[object, ...]]:
    with duckdb.connect(str(database), read_only=True) as connection:
        return connection.execute(query).fetchall()


def test_an_empty_lake_has_typed_views(lake: Lake, database: Path) -> None:
    assert publish(lake, database)
    assert ask(database, "SELECT * FROM frames") == []
    types = dict(ask(database, "SELECT column_name, data_type FROM duckdb_columns() WHERE table_name = 'frames'"))
    assert types == {column.name: column.type for column in described()[0].columns} | {"date": "DATE"}
    assert ask(database, "SELECT count(*), sum(noise) FROM all_time") == [(0, None)]


def test_every_table_and_column_is_explained(lake: Lake, database: Path) -> None:
    publish(lake, database)
    assert dict(ask(database, "SELECT view_name, comment FROM duckdb_views() WHERE NOT internal")) == {
        table.name: table.description for table in described()
    }
    comments = ask(database, "SELECT table_name, column_name, comment FROM duckdb_columns() WHERE NOT internal")
    told = {(table, column): comment for table, column, comment in comments if column != "date"}
    assert told == {(t.name, c.name): c.description for t in described() for c in t.columns}


def test_every_table_of_the_product_is_explained(tmp_path: Path) -> None:
    from hp_pipeline.vocabulary.tables import tables
    from hp_pipeline_tests.assets.house import workspace

    house = workspace(tmp_path)
    house.publish()
    comments = ask(house.database, "SELECT table_name, column_name, comment FROM duckdb_columns() WHERE NOT internal")
    found = {(table, column): comment for table, column, comment in comments if column != "date"}
    assert found.keys() == {(t.name, c.name) for t in tables().values() for c in t.columns}
    assert all(found.values())


def test_it_is_written_so_that_an_older_client_opens_it(lake: Lake, database: Path) -> None:
    publish(lake, database)
    (tags,) = ask(database, "SELECT tags FROM duckdb_databases() WHERE database_name = 'hp'")[0]
    assert isinstance(tags, dict) and str(tags["storage_version"]).startswith("v1.5")


def test_it_is_written_only_when_something_has_changed(lake: Lake, database: Path) -> None:
    assert publish(lake, database)
    lake.write("frames/hp", DAYS[0], rows(1))
    assert not publish(lake, database)
    assert publish(lake, database, extra=1)
    database.unlink()
    assert publish(lake, database, extra=1)


def test_a_column_that_no_partition_knows_is_null(lake: Lake, database: Path) -> None:
    lake.write("frames/hp", DAYS[0], rows(1))
    publish(lake, database, extra=2)
    assert ask(database, "SELECT count(*), count(unknown), count(extra_1) FROM frames") == [(50, 0, 0)]


def test_a_data_folder_that_has_moved_is_published_again(lake: Lake, database: Path, tmp_path: Path) -> None:
    lake.write("frames/hp", DAYS[0], rows(4))
    publish(lake, database)
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    shutil.move(lake.root, moved / "lake")
    shutil.move(database, moved / "hp.duckdb")
    with pytest.raises(duckdb.Error):
        ask(moved / "hp.duckdb", "SELECT * FROM frames")
    assert publish(Lake(moved / "lake"), moved / "hp.duckdb")
    assert ask(moved / "hp.duckdb", "SELECT DISTINCT version, date::VARCHAR FROM frames") == [(4, DAYS[0])]


def test_an_open_reader_sees_new_data_and_is_never_disturbed(lake: Lake, database: Path) -> None:
    """Partitions are replaced and the catalogue is published by other processes while a session stays open, in a
    transaction too."""
    for key in DAYS:
        lake.write("frames/hp", key, rows(0))
    publish(lake, database)
    with (
        duckdb.connect(str(database), read_only=True) as session,
        duckdb.connect(str(database), read_only=True) as other,
    ):
        other.execute("BEGIN")
        publisher = start("publishing", str(lake.root), "6")
        version = 0
        while publisher.poll() is None or version < 30:
            version += 1
            for key in DAYS:
                lake.write("frames/hp", key, rows(version))
            found = session.execute("SELECT count(*), min(version), max(version) FROM frames").fetchall()
            assert found == [(150, version, version)]
            assert other.execute("SELECT max(version) FROM frames").fetchone() == (version,)
        _, complaint = publisher.communicate()
        assert publisher.returncode == 0, complaint
    lake.write("frames/hp", "2024-01-04", rows(99))
    assert ask(database, "SELECT max(version) FROM frames") == [(99,)]


_OWNER = """
import duckdb, sys
session = duckdb.connect(sys.argv[1])
session.execute("CREATE TABLE mine AS SELECT 1 AS a")
print("open", flush=True)
sys.stdin.readline()
print(session.execute("SELECT max(version) FROM frames").fetchone()[0], flush=True)
sys.stdin.readline()
"""


def test_somebody_who_has_it_open_for_writing_stops_nobody(lake: Lake, database: Path) -> None:
    lake.write("frames/hp", DAYS[0], rows(1))
    publish(lake, database)
    somebody = subprocess.Popen(
        [sys.executable, "-c", _OWNER, str(database)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert somebody.stdin is not None and somebody.stdout is not None
    assert somebody.stdout.readline() == "open\n"
    assert publish(lake, database, extra=1)
    lake.write("frames/hp", DAYS[0], rows(2))
    assert ask(database, "SELECT max(version), count(extra_0) FROM frames") == [(2, 0)]
    somebody.stdin.write("\n")
    somebody.stdin.flush()
    assert somebody.stdout.readline() == "2\n", "their session goes on, and sees new data"
    somebody.kill()
    somebody.communicate()
    publish(lake, database, extra=1)
    assert ask(database, "SELECT max(version) FROM frames") == [(2,)]
    assert [path.name for path in database.parent.iterdir() if path.name.startswith(("hp.duckdb.", "."))] == []


def test_the_log_of_somebody_who_was_killed_does_not_shut_people_out(lake: Lake, database: Path) -> None:
    publish(lake, database)
    somebody = subprocess.Popen(
        [sys.executable, "-c", _OWNER, str(database)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert somebody.stdout is not None
    somebody.stdout.readline()
    log = database.with_name("hp.duckdb.wal")
    assert log.exists()
    stale = log.read_bytes()
    somebody.kill()
    somebody.communicate()
    publish(lake, database, extra=1)
    log.write_bytes(stale)
    publish(lake, database, extra=1)
    assert ask(database, "SELECT count(*) FROM frames") == [(0,)]


def test_a_writer_that_was_killed_leaves_nothing_for_long(lake: Lake, database: Path) -> None:
    left = [database.with_name(".hp.duckdb.4711.tmp"), database.with_name(".hp.duckdb.4711.tmp.wal")]
    for path in left:
        path.write_bytes(b"half")
    publish(lake, database)
    assert not any(path.exists() for path in left)


def test_a_place_that_cannot_be_written_is_named(lake: Lake, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match=r"cannot store .*hp\.duckdb"):
        publish(lake, tmp_path / "file" / "hp.duckdb")
