"""Whatever is killed when: every poll that was committed is in the lake exactly once, and the tables are those of a
clean rebuild. Real processes, killed with SIGKILL at random moments."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from hp_pipeline.assets.landed import bring
from hp_pipeline.assets.workspace import Workspace
from hp_pipeline.landing.schema import NEWEST, migrate
from hp_pipeline.landing.store import FILE, Landing
from hp_pipeline.transforms import told
from hp_pipeline.transforms.schema import conform
from hp_pipeline_tests.landing.house import NOON, attempt, contents, land, make_tables, tiny_house
from hp_pipeline_tests.landing.tiny import TinyDevice, start, values_of, wait_for

KILLS = int(os.environ.get("HP_KILLS", "50"))
FAR = timedelta(days=36500)


@pytest.fixture
def device() -> Iterator[TinyDevice]:
    opened = TinyDevice()
    yield opened
    opened.close()


def landed_polls(workspace: Workspace) -> dict[datetime, int]:
    """Time of each committed poll, with the number of the answer that it stored."""
    with Landing(workspace.data) as landing:
        assert landing.problems() == []
        found = {}
        for poll, readings in landing.series("tiny", NOON - FAR, NOON + FAR):
            values = {point: value for point, _, value in readings}
            assert values == values_of(int(values["n"]))  # whole, or it never was
            assert poll.time not in found
            found[datetime.fromtimestamp(poll.time / 1e6, UTC)] = int(values["n"])
        return found


def assert_the_lake_has(workspace: Workspace, polls: dict[datetime, int]) -> None:
    rows = conform(workspace.lake.read("readings/tiny", workspace.lake.keys("readings/tiny")), "readings")
    full = told.full_series(rows, lambda point: True)
    told_by_time: dict[datetime, dict[str, float | str]] = {}
    for point, moment, value, text in full.iter_rows():
        told_by_time.setdefault(moment, {})[point] = text if value is None else value
    assert told_by_time == {moment: values_of(number) for moment, number in polls.items()}


def assert_tables_are_those_of_a_clean_rebuild(workspace: Workspace, folder: Path) -> None:
    """The same landing, drained at once into an empty lake."""
    clean = tiny_house(folder)
    with sqlite3.connect(workspace.data / FILE) as source, sqlite3.connect(clean.data / FILE) as target:
        source.backup(target)
        target.execute("DELETE FROM drained")
    source.close()
    target.close()
    for each in (workspace, clean):
        bring(each, "tiny")
        make_tables(each)
    assert contents(workspace) == contents(clean)
    assert len(contents(clean)) > 8


def test_the_collector_is_killed_again_and_again(tmp_path: Path, device: TinyDevice) -> None:
    workspace = tiny_house(tmp_path / "house")
    dice = random.Random(11)
    acknowledged = tmp_path / "acknowledged"
    for kill in range(KILLS):
        process = start(workspace.data, {"tiny": ("tiny", device.port, 0.01)}, acknowledged)
        before = device.answers
        if kill % 2:
            wait_for(lambda before=before: device.answers > before, "an answer")  # type: ignore[misc]
        time.sleep(dice.uniform(0.0, 0.12))
        process.kill()
        process.join()
        if kill % 10 == 9:
            bring(workspace, "tiny")
    polls = landed_polls(workspace)
    numbers = Counter(polls.values())
    assert len(numbers) > KILLS and set(numbers.values()) == {1}
    said = {
        int(line.split()[1]) for line in acknowledged.read_text().splitlines() if line.endswith(tuple("0123456789"))
    }
    assert said and said <= set(numbers)  # what was said to be stored is there
    bring(workspace, "tiny")
    assert_the_lake_has(workspace, polls)
    assert_tables_are_those_of_a_clean_rebuild(workspace, tmp_path / "clean")


def test_draining_is_killed_again_and_again(tmp_path: Path) -> None:
    workspace = tiny_house(tmp_path / "house")
    dice = random.Random(12)
    land(workspace, NOON, 6000)
    for kill in range(8):
        with Landing(workspace.data) as landing:
            last = NOON + timedelta(seconds=30) * (6000 + 20 * kill)
            landing.record([attempt(6001 + 20 * kill + n, last + n * timedelta(seconds=30)) for n in range(20)])
        process = subprocess.Popen(
            [sys.executable, "-m", "hp_pipeline_tests.landing.drainer", str(tmp_path / "house")],
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
        )
        assert process.stdout is not None and process.stdout.readline() == b"begins\n"
        time.sleep(dice.uniform(0, 0.25 if kill < 5 else 1.2))
        process.kill()
        process.wait()
        process.stdout.close()
    polls = landed_polls(workspace)
    assert len(polls) == 6160
    bring(workspace, "tiny")
    assert_the_lake_has(workspace, polls)
    assert_tables_are_those_of_a_clean_rebuild(workspace, tmp_path / "clean")
    workspace.lake.clean()
    assert not list(workspace.lake.root.glob("**/.*.tmp"))


def test_a_migration_is_killed_again_and_again(tmp_path: Path) -> None:
    """From every earlier version; what was stored in it is there afterwards, whole."""
    script = (
        "import sys; from pathlib import Path\n"
        "from hp_pipeline.landing.store import Landing; Landing(Path(sys.argv[1]))"
    )
    dice = random.Random(13)
    newest = tmp_path / "newest"
    Landing(newest).close()
    for version in range(1, NEWEST):
        folder = tmp_path / str(version)
        folder.mkdir()
        old = sqlite3.connect(folder / FILE, isolation_level=None)
        old.execute("PRAGMA journal_mode = WAL")
        migrate(old, version)
        old.execute("INSERT INTO sources (name) VALUES ('kept')")
        old.close()
        for kill in range(6):
            copy = tmp_path / f"{version}-{kill}"
            shutil.copytree(folder, copy)
            process = subprocess.Popen([sys.executable, "-c", script, str(copy)], cwd=Path(__file__).parents[2])
            # Around the moment at which the file is changed first, as far as that can be met.
            deadline = time.monotonic() + 20
            while not (copy / f"{FILE}-wal").exists() and process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.0005)
            time.sleep(dice.uniform(0, 0.004))
            process.kill()
            process.wait()
            with Landing(copy) as landing:
                assert landing.problems() == [] and landing.rows("SELECT name FROM sources") == [("kept",)]
                landing.record([attempt(1, NOON)])
                with Landing(newest, read_only=True) as wanted:
                    shape = "SELECT name, sql FROM sqlite_master ORDER BY name"
                    assert landing.rows(shape) == wanted.rows(shape)
