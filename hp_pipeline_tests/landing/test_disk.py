"""A disk that is full, and a folder that cannot be written: said clearly, nothing damaged, and it goes on."""

from __future__ import annotations

import asyncio
import os
import re
import resource
import signal
import sqlite3
import subprocess
import sys
from collections import namedtuple
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from hp_pipeline.assets.beat import bring_sources, follow
from hp_pipeline.assets.landed import bring, live_sources
from hp_pipeline.assets.workspace import Workspace
from hp_pipeline.landing import housekeeping
from hp_pipeline.landing.housekeeping import keep_house
from hp_pipeline.landing.recorder import Recorder
from hp_pipeline.landing.store import FILE, Landing
from hp_pipeline.sources.live import Document, Outcome, Polled
from hp_pipeline_tests.landing.house import NOON, PROFILE, SETTINGS, attempt, contents, land, make_tables, tiny_house
from hp_pipeline_tests.landing.tiny import TinyDevice, healthy, start, wait_for


@pytest.fixture
def limited_files() -> Iterator[None]:
    """No file of this process may grow beyond 400 kB; the system's signal for it is not to kill."""
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    signal.signal(signal.SIGXFSZ, before)


def limit(size: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


def heavy(number: int) -> object:
    made = attempt(number, NOON + number * timedelta(seconds=30))
    assert made.polled is not None
    return type(made)(
        made.source, made.started, made.took, Outcome.ok,
        Polled(made.polled.readings, (Document("raw", os.urandom(20_000)),)), made.due, made.time,
    )  # fmt: skip


def test_a_full_disk_is_said_and_everything_waits_for_room(tmp_path: Path, limited_files: None) -> None:
    async def run() -> None:
        with Landing(tmp_path) as landing:
            recorder = Recorder(landing)
            writing = asyncio.create_task(recorder.run())
            limit(400_000)
            for number in range(60):
                recorder.put(heavy(number))  # type: ignore[arg-type]
                await asyncio.sleep(0.002)
            while recorder.problem is None:
                await asyncio.sleep(0.01)
            assert "Make room" in recorder.problem.remedy or "Mend the disk" in recorder.problem.remedy
            assert recorder.waiting > 0
            limit(resource.RLIM_INFINITY)
            assert await recorder.flush(20)
            assert recorder.problem is None and recorder.given_up == 0
            writing.cancel()
            recorder.close()
            assert landing.problems() == []
            assert [poll.points for poll in landing.polls("tiny")] == [18] * 60
            told = [{p: v for p, _, v in r}["n"] for _, r in landing.series("tiny", NOON, NOON + timedelta(days=1))]
            assert told == [float(number) for number in range(60)]

    asyncio.run(run())


def test_what_waits_for_the_disk_is_bounded_and_what_is_given_up_is_said(tmp_path: Path) -> None:
    async def run() -> None:
        with Landing(tmp_path) as landing:
            recorder = Recorder(landing, most_waiting=300 * 19)
            for number in range(400):
                recorder.put(attempt(number, NOON + number * timedelta(seconds=30)))
            assert recorder.waiting == 300 and recorder.given_up == 100
            writing = asyncio.create_task(recorder.run())
            assert await recorder.flush(20)
            writing.cancel()
            recorder.close()
            assert len(list(landing.polls("tiny"))) == 300

    asyncio.run(run())


def test_a_folder_that_cannot_be_written_is_named_and_what_is_there_is_untouched(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with Landing(folder) as landing:
        landing.record([attempt(1, NOON)])
    with sqlite3.connect(folder / FILE) as direct:
        direct.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    direct.close()
    content = (folder / FILE).read_bytes()
    script = (
        "import os, sys; from pathlib import Path; from hp_pipeline.landing.store import Landing, LandingError\n"
        "from hp_pipeline_tests.landing.house import NOON, attempt\n"
        "os.setuid(65534) if os.geteuid() == 0 else None\n"
        "try:\n Landing(Path(sys.argv[1])).record([attempt(2, NOON)])\n"
        "except LandingError as error: print(error.what, '|', error.remedy)\n"
    )
    # Nobody else may write there; and where the test runs as an ordinary user, it may not either.
    for path in (tmp_path.parent.parent, tmp_path.parent, tmp_path):
        path.chmod(0o755)
    folder.chmod(0o555)
    (folder / FILE).chmod(0o444)
    try:
        ran = subprocess.run(
            [sys.executable, "-c", script, str(folder)], capture_output=True, text=True, timeout=60, check=False
        )
    finally:
        folder.chmod(0o755)
        (folder / FILE).chmod(0o644)
    assert "right to write" in ran.stdout and str(folder / FILE) in ran.stdout, ran.stderr
    assert (folder / FILE).read_bytes() == content
    with Landing(folder) as landing:
        landing.record([attempt(2, NOON + timedelta(seconds=30))])
        assert len(list(landing.polls("tiny"))) == 2


def test_a_data_folder_that_is_no_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    (tmp_path / "hp.yaml").write_text(SETTINGS, encoding="utf-8")
    (tmp_path / "tiny.yaml").write_text(PROFILE, encoding="utf-8")
    places = ["--settings", str(tmp_path / "hp.yaml"), "--data", str(tmp_path / "data")]
    command = [sys.executable, "-m", "hp_pipeline.cli", "collect", *places]
    process = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert process.returncode == 1 and "Traceback" not in process.stderr
    assert f"cannot write to the data folder {tmp_path / 'data'}" in process.stderr and "--data" in process.stderr


def test_the_collector_goes_on_when_the_store_was_taken_away_and_comes_back(tmp_path: Path) -> None:
    """As on a disk that is remounted read-only and repaired: polls wait in memory meanwhile."""
    device = TinyDevice()
    process = start(tmp_path, {"tiny": ("tiny", device.port, 0.05)})
    try:
        healthy(tmp_path)
        wait_for(lambda: healthy(tmp_path)["stored"] > 3, "stored polls")
        blocker = Landing(tmp_path)
        with blocker.writing() as connection:
            connection.execute("UPDATE landing SET value = value")
            wait_for(lambda: healthy(tmp_path)["waiting"] > 5, "waiting polls")
            assert device.answers > 8  # asking goes on
        wait_for(lambda: healthy(tmp_path)["waiting"] <= 2, "all stored")
        blocker.close()
        process.terminate()
        process.join(5)
        assert process.exitcode == 0
    finally:
        process.kill()
        device.close()
    with Landing(tmp_path) as landing:
        numbers = [{p: v for p, _, v in r}["n"] for _, r in landing.series(
            "tiny", datetime(2020, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))]  # fmt: skip
        assert numbers == [float(n + 1) for n in range(len(numbers))] and device.answers - len(numbers) <= 1


_Usage = namedtuple("_Usage", "total used free")


def test_a_disk_that_is_nearly_full_costs_documents_and_failures_but_no_readings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = NOON + timedelta(days=2)
    with Landing(tmp_path) as landing:
        landing.record([heavy(number) for number in range(1, 31)])  # type: ignore[misc]
        before = [readings for _, readings in landing.series("tiny", NOON, now)]
        assert keep_house(landing, now).warning is None
        assert len(list(landing.documents("tiny"))) == 30
        monkeypatch.setattr(housekeeping.shutil, "disk_usage", lambda _: _Usage(100, 95, 5))
        size = landing.size()
        kept = keep_house(landing, now)
        assert kept.warning is not None and "95%" in kept.warning and "Make room" in kept.warning
        assert (kept.documents, kept.pruned) == (29, 0)
        assert [readings for _, readings in landing.series("tiny", NOON, now)] == before
        landing.rows("PRAGMA wal_checkpoint(TRUNCATE)")
        assert landing.path.stat().st_size < size / 3
        assert (tmp_path / FILE).exists()


def follow_all(workspace: Workspace, instance: dg.DagsterInstance) -> dict[str, Exception]:
    """A beat over all days, without a run around it: what could not be done."""
    failed: dict[str, Exception] = {}
    for _, _, events in bring_sources(workspace, live_sources(workspace), failed):
        list(events)
    for plant in workspace.plants:
        list(follow(plant, None, failed, instance))
    return failed


def test_a_full_disk_in_a_beat_is_said_and_made_good(tmp_path: Path, limited_files: None) -> None:
    workspace = tiny_house(tmp_path / "house")
    land(workspace, NOON, 500)
    with dg.DagsterInstance.ephemeral() as instance:
        limit(6_000)
        failed = follow_all(workspace, instance)
        assert re.search("Make room|Mend the disk|raise the limit", str(failed["readings/tiny"])), failed
        limit(resource.RLIM_INFINITY)
        bring(workspace, "tiny")
        limit(600)
        failed = follow_all(workspace, instance)
        assert "raise the limit on the size of files" in str(failed.get("pump from frames on")), failed
        limit(resource.RLIM_INFINITY)
        assert follow_all(workspace, instance) == {}
        with Landing(workspace.data) as landing:
            assert landing.problems() == []
    other = tiny_house(tmp_path / "other")
    land(other, NOON, 500)
    bring(other, "tiny")
    make_tables(other)
    assert contents(workspace) == contents(other)
    workspace.lake.clean()
    assert not list(workspace.lake.root.glob("**/.*.tmp"))


def test_a_beat_on_a_folder_that_cannot_be_written_names_it(tmp_path: Path) -> None:
    workspace, first = tiny_house(tmp_path / "house"), tiny_house(tmp_path / "first")
    for each in (workspace, first):
        land(each, NOON, 100)
    bring(workspace, "tiny")
    land(workspace, NOON + timedelta(hours=1), 100, first=101)
    before = contents(workspace)
    script = (
        "import os, sys; from pathlib import Path; import dagster as dg\n"
        "from hp_pipeline.assets.workspace import Workspace; from hp_pipeline.settings import load_settings\n"
        "from hp_pipeline_tests.landing.test_disk import follow_all\n"
        "first, house = (Workspace(load_settings(Path(a) / 'hp.yaml'), Path(a) / 'data') for a in sys.argv[1:])\n"
        "with dg.DagsterInstance.ephemeral() as instance:\n"
        " assert follow_all(first, instance) == {}\n"  # all is imported that nobody else may read
        " os.setuid(65534) if os.geteuid() == 0 else None\n"
        " for what, error in follow_all(house, instance).items(): print(what, '|', error)\n"
    )
    for path in (tmp_path / "house", *tmp_path.joinpath("house").parents):
        if path.stat().st_uid == os.geteuid() and not path.stat().st_mode & 0o001:
            path.chmod(0o755)
    folders = [workspace.data, *(path for path in workspace.data.rglob("*") if path.is_dir())]
    for path in folders:
        path.chmod(0o555)
    try:
        ran = subprocess.run(
            [sys.executable, "-c", script, *map(str, (tmp_path / "first", tmp_path / "house"))],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    finally:
        for path in folders:
            path.chmod(0o755)
    said = dict(line.split(" | ", 1) for line in ran.stdout.splitlines())
    assert set(said) == {"readings/tiny", "pump from frames on"}, ran.stderr
    assert str(workspace.data) in said["readings/tiny"] and "right to write" in said["readings/tiny"]
    assert str(workspace.data) in said["pump from frames on"]
    assert contents(workspace) == before
    with dg.DagsterInstance.ephemeral() as instance:
        assert follow_all(workspace, instance) == {}
