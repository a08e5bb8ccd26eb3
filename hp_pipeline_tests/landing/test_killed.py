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
from functools import partial
from pathlib import Path

import pytest

from hp_pipeline.assets.describe import asset_key
from hp_pipeline.assets.landed import bring
from hp_pipeline.assets.workspace import Workspace
from hp_pipeline.landing.schema import NEWEST, migrate
from hp_pipeline.landing.store import FILE, Landing
from hp_pipeline.services.instance import open_instance, prepare_instance, reap_orphans
from hp_pipeline.transforms import told as told_sets
from hp_pipeline.transforms.schema import conform
from hp_pipeline.vocabulary.tables import tables
from hp_pipeline_tests.landing import beating
from hp_pipeline_tests.landing.house import NOON, attempt, contents, land, make_tables, tiny_house
from hp_pipeline_tests.landing.tiny import TinyDevice, start, values_of, wait_for

KILLS = int(os.environ.get("HP_KILLS", "50"))
BEAT_KILLS = KILLS // 10
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
    full = told_sets.full_series(rows, lambda point: True)
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


def told(workspace: Workspace) -> dict[tuple[str, str], str]:
    """By asset and day the content that was told last of what the graph partitions by days."""
    found = {}
    with open_instance(workspace.data) as instance:
        for asset in workspace.lake.assets():
            table, _, whose = asset.partition("/")
            if tables()[table].partitions != "days":
                continue
            key = asset_key(table, whose)
            for record in reversed(instance.fetch_materializations(key, limit=1000).records):
                materialization = record.asset_materialization
                if materialization is not None and record.partition_key is not None:
                    found[asset, record.partition_key] = str(materialization.metadata["content"].value)
    return found


def test_a_beat_is_killed_again_and_again(tmp_path: Path) -> None:
    """While it drains, while it makes partitions, while it tells of them; whoever takes its place ends what it began,
    and tells of all that is there."""
    workspace = tiny_house(tmp_path / "house")
    prepare_instance(workspace.data)
    dice = random.Random(14)
    again, polls, cut_off = None, 0, 0
    for kill in range(BEAT_KILLS):
        land(workspace, NOON + timedelta(seconds=30) * polls, 240, first=polls + 1)
        polls += 240
        begun = tmp_path / f"begun_{kill}"
        last = (NOON + timedelta(seconds=30) * polls).date()
        process = beating.start(tmp_path / "house", NOON.date(), last, again, begun)
        wait_for(begun.exists, "a run")
        process.join(dice.uniform(0.05, 1.5))
        process.kill()
        process.join()
        cut_off += process.exitcode != 0
        with open_instance(workspace.data) as instance:
            reap_orphans(instance, services_down=True)
            (newest,) = instance.get_runs(limit=1) or [None]
            again = newest.run_id if newest and not newest.is_success else None
    assert cut_off > BEAT_KILLS / 3
    last = (NOON + timedelta(seconds=30) * polls).date()
    process = beating.start(tmp_path / "house", NOON.date(), last, again or "1c1ba6a5", tmp_path / "begun")
    process.join(60)
    assert process.exitcode == 0
    found = landed_polls(workspace)
    assert len(found) == polls
    assert_the_lake_has(workspace, found)
    by_days = {place for place in contents(workspace) if tables()[place[0].partition("/")[0]].partitions == "days"}
    assert told(workspace) == {place: content for place, content in contents(workspace).items() if place in by_days}
    assert_tables_are_those_of_a_clean_rebuild(workspace, tmp_path / "clean")


def _has_fewer_polls(workspace: Workspace, count: int) -> bool:
    with Landing(workspace.data) as landing:
        return len(list(landing.polls("tiny"))) < count


def test_draining_and_upkeep_at_once(tmp_path: Path) -> None:
    """Polls land, are drained, pruned and thinned, and the file shrinks, all at the same time in four processes, two of
    which are killed again and again: what was committed is in the lake, once."""
    workspace = tiny_house(tmp_path / "house")
    keeper = (
        "import sys; from datetime import UTC, datetime; from pathlib import Path\n"
        "from hp_pipeline.landing.store import Landing\n"
        "with Landing(Path(sys.argv[1])) as landing:\n"
        " print('begins', flush=True)\n"
        " while True:\n"
        "  now = datetime(2027, 1, 1, tzinfo=UTC)\n"
        "  landing.prune(now); landing.thin_documents(now); landing.thin_failures(now)\n"
        "  landing.rows('PRAGMA wal_checkpoint(TRUNCATE)')\n"
    )
    dice = random.Random(15)
    numbers: list[int] = []
    for number in range(3):
        upkeep = subprocess.Popen(
            [sys.executable, "-c", keeper, str(workspace.data)], stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
        )
        drainer = subprocess.Popen(
            [sys.executable, "-m", "hp_pipeline_tests.landing.drainer", str(tmp_path / "house")],
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
        )
        for process in (upkeep, drainer):
            assert process.stdout is not None and process.stdout.readline() == b"begins\n"
        for _ in range(10):
            first = len(numbers) + 1
            land(workspace, NOON + timedelta(seconds=30) * len(numbers), 100, first=first)
            numbers += range(first, first + 100)
        time.sleep(dice.uniform(0, 0.5))
        if number == 2:  # on a busy machine, both may have been killed before they had done anything
            wait_for(partial(_has_fewer_polls, workspace, len(numbers)), "upkeep that takes away what was drained", 60)
        for process in (drainer, upkeep):
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()
    bring(workspace, "tiny")
    assert_the_lake_has(workspace, {NOON + timedelta(seconds=30) * (n - 1): n for n in numbers})
    with Landing(workspace.data) as landing:
        assert landing.problems() == []
    make_tables(workspace)
    clean = tiny_house(tmp_path / "clean")
    land(clean, NOON, len(numbers))
    bring(clean, "tiny")
    make_tables(clean)
    assert figures_of(contents(workspace)) == figures_of(contents(clean))


def figures_of(found: dict[tuple[str, str], str]) -> dict[tuple[str, str], str]:
    """Without the readings, whose rows say besides how the polls were cut into sessions of the writer."""
    return {place: content for place, content in found.items() if not place[0].startswith("readings/")}


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
