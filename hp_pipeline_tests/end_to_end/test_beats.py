"""What lands while services live and die comes to the tables: a run's worker and the daemon killed in the midst."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import psutil
from dagster import DagsterInstance, DagsterRunStatus, RunsFilter

from hp_pipeline.assets.landed import bring
from hp_pipeline.landing.store import Landing
from hp_pipeline.services.instance import open_instance, prepare_instance
from hp_pipeline.services.supervisor import end_processes, free_port, supervised_processes
from hp_pipeline.vocabulary.tables import tables
from hp_pipeline_tests.end_to_end.test_services_and_data import UNFINISHED, until
from hp_pipeline_tests.landing.house import NOON, contents, land, make_tables, tiny_house


def worker_of(data: Path) -> psutil.Process | None:
    """The process that executes a run: the code server's child."""
    for process in supervised_processes(data):
        if "multiprocessing" in " ".join(process.cmdline()) and "spawn_main" in " ".join(process.cmdline()):
            return process
    return None


def succeeded(instance: DagsterInstance) -> bool:
    """Whether the newest run went well and none is under way."""
    newest = instance.get_runs(limit=1)
    return not instance.get_runs(RunsFilter(statuses=UNFINISHED)) and bool(newest) and newest[0].is_success


def of_days(found: dict[tuple[str, str], str]) -> dict[tuple[str, str], str]:
    """Of the contents of a lake those that every beat brings up to date."""
    days = {name for name, table in tables().items() if table.partitions == "days"}
    return {where: content for where, content in found.items() if where[0].partition("/")[0] in days}


def test_a_worker_and_the_daemon_are_killed_while_readings_come(tmp_path: Path) -> None:
    workspace = tiny_house(tmp_path / "house")
    prepare_instance(workspace.data)
    land(workspace, NOON, 3000)
    command = [sys.executable, "-m", "hp_pipeline.cli", "run", "--no-collector", "--port", str(free_port(25000))]
    with (tmp_path / "terminal").open("wb") as terminal:
        life = subprocess.Popen(
            [*command, "--settings", str(tmp_path / "house" / "hp.yaml"), "--data", str(workspace.data)],
            stdin=subprocess.DEVNULL,
            stdout=terminal,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        with open_instance(workspace.data) as instance:
            started = RunsFilter(statuses=[DagsterRunStatus.STARTED])
            until(lambda: instance.get_runs(started), "a run", every=0.05)
            until(lambda: workspace.lake.keys("readings/tiny"), "draining", every=0.005)
            land(workspace, NOON + timedelta(seconds=30) * 3000, 100, first=3001)
            worker = until(lambda: worker_of(workspace.data), "its worker", every=0.01)
            worker.kill()
            (daemon,) = [p for p in supervised_processes(workspace.data) if "services.daemon" in " ".join(p.cmdline())]
            daemon.kill()
            until(lambda: instance.get_runs(RunsFilter(statuses=[DagsterRunStatus.FAILURE])), "the end of that run")
            with Landing(workspace.data) as landing:
                # Another run may end well before the one in its place begins: what was brought tells them apart.
                until(lambda: landing.drained("tiny") == 3100 and succeeded(instance), "a run in its place", 240, 0.5)
    finally:
        os.kill(life.pid, signal.SIGTERM)
        life.wait(30)
        end_processes(supervised_processes(workspace.data), 0)
    clean = tiny_house(tmp_path / "clean")
    land(clean, NOON, 3000)
    land(clean, NOON + timedelta(seconds=30) * 3000, 100, first=3001)  # as another writer: all points once more
    bring(clean, "tiny")
    make_tables(clean)
    assert of_days(contents(workspace)) == of_days(contents(clean))
    # What came after the killed run had brought its part came with a beat, which leaves weeks and longer for later.
    make_tables(workspace)
    assert contents(workspace) == contents(clean)
