"""Files are taken in once, whole or not at all, whatever is killed when."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from hp_pipeline.sources import drop_folder
from hp_pipeline.sources.drop_folder import remove_leftovers, take_in, waiting_files
from hp_pipeline_tests.sources.dying_taker import NOW, source, take

DAYS = 5


def content(rows_per_day: int = 40, point: str = "a") -> str:
    start = datetime(2024, 5, 1, tzinfo=UTC)
    lines = [
        f"{start + timedelta(days=day, minutes=row):%Y-%m-%dT%H:%M:%SZ},{point},{day * 100 + row}"
        for day in range(DAYS)
        for row in range(rows_per_day)
    ]
    return "\n".join(["time,point,value", *lines, ""])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data folder with one file in the drop folder."""
    (tmp_path / "drop").mkdir()
    (tmp_path / "drop" / "a.csv").write_text(content())
    return tmp_path


def stored(folder: Path) -> pl.DataFrame:
    return pl.concat(pl.read_parquet(path) for path in sorted((folder / "lake").glob("*.parquet")))


def names(folder: Path) -> list[str]:
    return sorted(
        str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and "lake" not in path.parts
    )


def test_a_good_file_is_stored_and_archived(folder: Path) -> None:
    taken = take(folder)
    assert taken.outcome == "stored"
    assert (taken.rows, taken.readings) == (200, 200)
    assert stored(folder).height == 200
    short = taken.digest[:12]
    assert names(folder) == [f"archive/old/{short}-a.csv", f"ledger/old-{taken.digest}.json"]
    entry = json.loads((folder / "ledger" / f"old-{taken.digest}.json").read_text())
    assert entry["name"] == "a.csv"
    assert (entry["rows"], entry["readings"], entry["rejects"]) == (200, 200, 0)
    assert entry["first"] == "2024-05-01T00:00:00+00:00"
    assert entry["taken_at"] == NOW.isoformat()


def test_chunks_hold_whole_days_in_order(folder: Path) -> None:
    chunks: list[pl.DataFrame] = []
    take_in(
        folder / "drop" / "a.csv",
        source(),
        store=chunks.append,
        archive_dir=folder / "archive",
        quarantine_dir=folder / "quarantine",
        ledger_dir=folder / "ledger",
        start=date(2024, 1, 1),
        now=NOW,
        chunk_rows=90,
    )
    days = [chunk["time"].dt.date().unique().sort().to_list() for chunk in chunks]
    assert [len(one) for one in days] == [2, 2, 1]
    in_order = [day for one in days for day in one]
    assert in_order == sorted(set(in_order))


def test_the_same_content_is_stored_once(folder: Path) -> None:
    first = take(folder)
    (folder / "drop" / "again.csv").write_text(content())
    lake = {path: path.stat().st_mtime_ns for path in (folder / "lake").iterdir()}
    second = take(folder, "again.csv")
    assert second.outcome == "duplicate"
    assert second.digest == first.digest
    assert second.moved_to == folder / "archive" / "old" / f"{first.digest[:12]}-again.csv"
    assert lake == {path: path.stat().st_mtime_ns for path in (folder / "lake").iterdir()}


def test_other_settings_make_it_another_content(folder: Path) -> None:
    take(folder)
    (folder / "drop" / "a.csv").write_text(content())
    assert take(folder, time_shift="-1h").outcome == "stored"
    (folder / "drop" / "a.csv").write_text(content())
    assert take(folder, time_shift="-1h", keep_good_rows=True).outcome == "duplicate"


def test_overlapping_files_are_harmless(folder: Path) -> None:
    lines = content().splitlines()
    header, rows = lines[0], lines[1:]
    (folder / "drop" / "a.csv").write_text("\n".join([header, *rows[:120]]))
    (folder / "drop" / "b.csv").write_text("\n".join([header, *rows[80:]]))
    take(folder, "b.csv")
    take(folder, "a.csv")
    assert stored(folder).height == 200
    assert stored(folder).select("point", "time").is_unique().all()


def test_a_bad_row_keeps_the_file_out(folder: Path) -> None:
    (folder / "drop" / "a.csv").write_text(content() + "rubbish,a,1\n")
    taken = take(folder)
    assert taken.outcome == "quarantined"
    assert taken.reason == "1 rejected: 1 × time not understood"
    assert names(folder) == ["quarantine/old/a.csv", "quarantine/old/a.csv.report.txt"]
    assert not list((folder / "lake").iterdir())
    report = (folder / "quarantine" / "old" / "a.csv.report.txt").read_text()
    assert "not taken in" in report
    assert "line 202, a: time not understood (found: rubbish)" in report
    assert "keep_good_rows: true" in report


def test_the_good_rows_of_a_bad_file(folder: Path) -> None:
    bad = "".join(f"rubbish{index},a,1\n" for index in range(150))
    (folder / "drop" / "a.csv").write_text(content() + bad)
    taken = take(folder, keep_good_rows=True)
    assert taken.outcome == "stored"
    assert stored(folder).height == 200
    assert taken.report is not None
    assert taken.report.parent == folder / "archive" / "old"
    report = taken.report.read_text()
    assert "The first 100:" in report
    assert report.count("time not understood (found") == 100
    assert json.loads((folder / "ledger" / f"old-{taken.digest}.json").read_text())["rejects"] == 150


def test_a_file_that_is_no_table_is_quarantined_with_the_remedy(folder: Path) -> None:
    (folder / "drop" / "a.csv").write_text("a;b;c\n1;2;3\n")
    taken = take(folder, keep_good_rows=True)
    assert taken.outcome == "quarantined"
    assert "separator" in (taken.reason or "")
    assert taken.report is not None
    report = taken.report.read_text()
    assert 'Remedy:  Set `separator: ";"` of source old.' in report
    assert "(line 1)" in report


def test_another_bad_file_of_the_same_name_does_not_replace_the_first(folder: Path) -> None:
    for text in ("a;b\n1;2\n", "a;c\n1;2\n", "a;b\n1;2\n"):
        (folder / "drop" / "a.csv").write_text(text)
        take(folder)
    kept = [name for name in names(folder) if not name.endswith("report.txt")]
    assert len(kept) == 2
    assert len(names(folder)) == 4


def test_a_corrected_file_is_taken_in(folder: Path) -> None:
    (folder / "drop" / "a.csv").write_text(content() + "rubbish,a,1\n")
    assert take(folder).outcome == "quarantined"
    (folder / "drop" / "a.csv").write_text(content())
    assert take(folder).outcome == "stored"


def test_a_failing_store_leaves_the_file_where_it_is(folder: Path) -> None:
    def fail(_: pl.DataFrame) -> None:
        raise OSError(errno.ENOSPC, "no space")

    with pytest.raises(OSError, match="no space"):
        take_in(
            folder / "drop" / "a.csv",
            source(),
            store=fail,
            archive_dir=folder / "archive",
            quarantine_dir=folder / "quarantine",
            ledger_dir=folder / "ledger",
            start=date(2024, 1, 1),
            now=NOW,
        )
    assert names(folder) == ["drop/a.csv"]
    assert list((folder / "ledger").iterdir()) == []


def test_a_file_that_grows_meanwhile_waits(folder: Path) -> None:
    path = folder / "drop" / "a.csv"

    def grow(_: pl.DataFrame) -> None:
        with path.open("a") as stream:
            stream.write("2024-05-09T00:00:00Z,a,1\n")

    taken = take_in(
        path,
        source(),
        store=grow,
        archive_dir=folder / "archive",
        quarantine_dir=folder / "quarantine",
        ledger_dir=folder / "ledger",
        start=date(2024, 1, 1),
        now=NOW,
    )
    assert taken.outcome == "changed"
    assert names(folder) == ["drop/a.csv"]
    assert take(folder).rows > 200


def test_a_file_that_somebody_else_took(folder: Path) -> None:
    (folder / "drop" / "a.csv").unlink()
    assert take(folder).outcome == "gone"


def test_a_file_may_stay_where_it_is(folder: Path) -> None:
    taken = take_in(
        folder / "drop" / "a.csv",
        source(),
        store=lambda _: None,
        archive_dir=folder / "archive",
        quarantine_dir=folder / "quarantine",
        ledger_dir=folder / "ledger",
        start=date(2024, 1, 1),
        now=NOW,
        move=False,
    )
    assert (taken.outcome, taken.moved_to) == ("stored", None)
    assert names(folder) == ["drop/a.csv", f"ledger/old-{taken.digest}.json"]


def test_an_archive_on_another_disk(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace = Path.replace

    def across(self: Path, target: Path) -> Path:
        if self.parent.name == "drop":
            raise OSError(errno.EXDEV, "cross-device link")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", across)
    taken = take(folder)
    assert names(folder) == [f"archive/old/{taken.digest[:12]}-a.csv", f"ledger/old-{taken.digest}.json"]


@pytest.mark.parametrize(
    "moment",
    ["before store", "in the middle of store", "after store", "before move", "after move"],
)
def test_killed_at_any_moment_nothing_is_lost_or_doubled(folder: Path, moment: str) -> None:
    (folder / "lake").mkdir()
    command = [sys.executable, "-m", "hp_pipeline_tests.sources.dying_taker", str(folder), moment]
    root = Path(__file__).resolve().parents[2]
    ended = subprocess.run(command, cwd=root, check=False, timeout=60)
    assert ended.returncode == -signal.SIGKILL
    if moment != "after move":
        assert (folder / "drop" / "a.csv").exists()
        taken = take(folder)
        assert taken.outcome == ("duplicate" if moment == "before move" else "stored")
    assert stored(folder).height == 200
    assert stored(folder).select("point", "time").is_unique().all()
    (archived,) = (folder / "archive" / "old").iterdir()
    assert archived.read_text() == content()
    assert names(folder)[0].startswith("archive/")
    assert [path.suffix for path in (folder / "ledger").iterdir()] == [".json"]


@pytest.mark.parametrize("moment", ["before quarantine", "after report"])
def test_killed_on_the_way_to_quarantine(folder: Path, moment: str) -> None:
    (folder / "drop" / "a.csv").write_text("a;b\n1;2\n")
    command = [sys.executable, "-m", "hp_pipeline_tests.sources.dying_taker", str(folder), moment]
    root = Path(__file__).resolve().parents[2]
    assert subprocess.run(command, cwd=root, check=False, timeout=60).returncode == -signal.SIGKILL
    assert (folder / "drop" / "a.csv").exists()
    assert take(folder).outcome == "quarantined"
    assert names(folder) == ["quarantine/old/a.csv", "quarantine/old/a.csv.report.txt"]


def test_what_a_living_process_reads_is_left_alone(folder: Path) -> None:
    during: list[list[str]] = []

    def look(_: pl.DataFrame) -> None:
        remove_leftovers(folder / "ledger")
        during.append(sorted(path.name for path in (folder / "ledger").iterdir()))

    dead = folder / "ledger" / ".reading-dead"
    dead.mkdir(parents=True)
    (dead / "lock").touch()
    take_in(
        folder / "drop" / "a.csv",
        source(),
        store=look,
        archive_dir=folder / "archive",
        quarantine_dir=folder / "quarantine",
        ledger_dir=folder / "ledger",
        start=date(2024, 1, 1),
        now=NOW,
    )
    ((ours,),) = during
    assert ours.startswith(".reading-")
    assert ours != dead.name


def test_files_that_wait(tmp_path: Path) -> None:
    names = ["b.csv", "a.lp.gz", ".hidden.csv", "c.csv.part", "d.csv.tmp", "e.csv~", "~$f.csv", "G.CSV.PART"]
    for name in names:
        (tmp_path / name).write_text("x")
    (tmp_path / "folder.csv").mkdir()
    os.utime(tmp_path / "b.csv", (1, 1))
    now = datetime.now(UTC)
    assert waiting_files(source(), tmp_path, now) == []
    later = now + drop_folder.SETTLED_AFTER + timedelta(seconds=1)
    found = waiting_files(source(), tmp_path, later)
    assert [file.path.name for file in found] == ["b.csv", "a.lp.gz"]
    assert found[0].size == 1
    assert found[0].mtime == datetime.fromtimestamp(1, UTC)
    (tmp_path / "b.csv").write_text("longer")
    again = waiting_files(source(), tmp_path, later + timedelta(minutes=1))
    keys = {file.path.name: file.key for file in found}
    assert [file.key == keys[file.path.name] for file in again] == [True, False]
    assert waiting_files(source(), tmp_path / "nowhere", now) == []
