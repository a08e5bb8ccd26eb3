"""Everything as `make run` starts it: real services, real runs, the power going in the midst."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import psutil
import pytest
from dagster import DagsterRunStatus, RunsFilter

from hp_pipeline.assets.stages import store_readings
from hp_pipeline.assets.workspace import Workspace
from hp_pipeline.services.instance import open_instance
from hp_pipeline.services.supervisor import end_processes, free_port, query, supervised_processes
from hp_pipeline.settings import load_settings
from hp_pipeline.simulation.demo import demo_settings, write_demo
from hp_pipeline_tests.assets.small_house import contents, make_all

POOLS = ("figures", "source_demo_house")
UNFINISHED = [
    DagsterRunStatus.QUEUED,
    DagsterRunStatus.NOT_STARTED,
    DagsterRunStatus.STARTING,
    DagsterRunStatus.STARTED,
    DagsterRunStatus.CANCELING,
]


def until(look: Callable[[], Any], what: str, seconds: float = 120, every: float = 0.2) -> Any:
    """Look until the answer is true, or fail with what was waited for."""
    deadline = time.monotonic() + seconds
    while not (answer := look()):
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        time.sleep(every)
    return answer


class Started:
    """`hp-pipeline run` in the folder of a house whose readings come as files."""

    def __init__(self, folder: Path, port: int) -> None:
        self.data = folder / "data"
        self.url = f"http://127.0.0.1:{port}"
        self.output = folder / f"terminal_{time.monotonic_ns()}"
        environment = {name: value for name, value in os.environ.items() if name not in {"HP_SETTINGS", "HP_DATA"}}
        with self.output.open("wb") as terminal:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "hp_pipeline.cli", "run", "--port", str(port)],
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=terminal,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def until_ready(self) -> None:
        until(lambda: "Ready after" in self.said or self.process.poll() is not None, "the pages")
        assert self.process.poll() is None, self.said
        assert f"{self.url} " in self.said, self.said

    @property
    def said(self) -> str:
        return self.output.read_text()

    def runs(self) -> dict[str, list[str]]:
        """The states of all runs by job, as the pages show them."""
        found: dict[str, list[str]] = {}
        for run in query(self.url, "{ runsOrError { ... on Runs { results { jobName status } } } }", timeout=30)[
            "runsOrError"
        ]["results"]:
            found.setdefault(run["jobName"], []).append(run["status"])
        return found

    def materialised(self, table: str) -> set[str]:
        """The partitions of a table that the pages show as materialised."""
        text = f"""{{ assetNodeOrError(assetKey: {{path: ["daikin_{table}"]}}) {{ ... on AssetNode {{
            partitionKeys assetPartitionStatuses {{ ... on TimePartitionStatuses {{
                ranges {{ status startKey endKey }} }} }} }} }} }}"""
        node = query(self.url, text, timeout=30)["assetNodeOrError"]
        keys = node["partitionKeys"]
        shown = set()
        for part in node["assetPartitionStatuses"]["ranges"]:
            if part["status"] == "MATERIALIZED":
                shown |= {key for key in keys if part["startKey"] <= key <= part["endKey"]}
        return shown

    def kill_everything(self) -> None:
        """As if the power went: no process gets to say a word."""
        everything = [psutil.Process(self.process.pid), *supervised_processes(self.data)]
        while everything:  # one of them may have started another one meanwhile
            end_processes(everything, 0)
            everything = supervised_processes(self.data)
        self.process.wait(timeout=10)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """An empty folder; whatever was started on it ends with the test."""
    try:
        yield tmp_path
    finally:
        data = tmp_path / "data"
        ours = [process for process in psutil.Process().children() if process.cwd() == str(tmp_path)]
        end_processes([*ours, *supervised_processes(data)], 0)


def test_the_power_goes_in_mid_run_and_nothing_is_lost(folder: Path) -> None:
    data = folder / "data"
    end = datetime.now(UTC)
    (whole,) = write_demo(data / "drop" / "demo_house", 2, end=end).files
    (folder / "hp.yaml").write_text(demo_settings((end - timedelta(days=2)).date()))
    readings = pl.read_parquet(whole)
    whole.unlink()
    third = readings.height // 3
    parts = {"a": readings[:third], "b": readings[third : 2 * third], "c": readings[2 * third :]}

    def drop(name: str) -> None:
        path = data / "drop" / "demo_house" / f".{name}.parquet"
        parts[name].write_parquet(path)
        path.replace(path.with_name(f"{name}.parquet"))

    drop("a")
    port = free_port(23000)
    life = Started(folder, port)
    life.until_ready()
    with open_instance(data) as instance:
        filters = RunsFilter(job_name="figures", statuses=[DagsterRunStatus.STARTED])
        until(lambda: instance.get_runs(filters, limit=1), "a run that makes figures", every=0.02)
    drop("b")  # it waits
    life.kill_everything()
    drop("c")  # while nobody looks

    life = Started(folder, port)
    life.until_ready()
    clean = Workspace(load_settings(folder / "hp.yaml"), folder / "clean")
    store_readings(clean, "demo_house", readings.select("point", "time", "value", "text"))
    make_all(clean)
    expected = contents(clean.lake)
    workspace = Workspace(load_settings(folder / "hp.yaml"), data)

    def missing() -> list[str]:
        """What there is still to wait for."""
        stored = contents(workspace.lake)
        parts = [
            f"{asset} {key}"
            for asset in {**expected, **stored}
            for key in {**expected.get(asset, {}), **stored.get(asset, {})}
            if expected.get(asset, {}).get(key) != stored.get(asset, {}).get(key)
        ]
        under_way = [f"{job} {state}" for job, states in life.runs().items() for state in states]
        return parts + [run for run in under_way if not run.endswith(("SUCCESS", "FAILURE"))]

    began = time.monotonic()
    while left := missing():
        assert time.monotonic() - began < 150, f"after {time.monotonic() - began:.0f} s: {left[:20]} {life.runs()}"
        time.sleep(0.5)
    days = set(workspace.lake.keys("daily/daikin")) & set(workspace.lake.keys("frames/daikin"))
    assert len(days) >= 2
    for table in ("frames", "sessions", "hourly", "daily"):
        assert life.materialised(table) >= days, table
    assert "FAILURE" in life.runs()["figures"], "the run that was cut off is none that goes on for ever"
    assert list((data / "drop" / "demo_house").iterdir()) == []

    began = time.monotonic()
    life.process.send_signal(signal.SIGTERM)
    assert life.process.wait(timeout=30) == 0
    assert time.monotonic() - began < 12
    assert supervised_processes(data) == []
    with open_instance(data) as instance:
        assert instance.get_runs(RunsFilter(statuses=UNFINISHED)) == []
        for pool in POOLS:
            assert instance.event_log_storage.get_concurrency_info(pool).claimed_slots == []
