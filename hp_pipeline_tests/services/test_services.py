"""Dagster's services as `hp-pipeline run` starts them, and everything that may happen to them: real processes."""

import contextlib
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

from dagster import AssetKey, DagsterRunStatus

from hp_pipeline.services.instance import open_instance, reap_orphans
from hp_pipeline.services.maintenance import Limits, maintain_instance
from hp_pipeline.services.supervisor import location_problem, query, supervised_processes
from hp_pipeline_tests.services.lives import Life, alive, kill, launch, no_survivors, runs, wait_for

ATTEMPTS = "attempts"


def test_services_come_up_survive_kills_and_end_in_time(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with no_survivors(data):
        life = Life(data)
        url = life.until_ready()
        assert location_problem(url) is None

        run = launch(url, "quick_job", {"dagster/partition": "2026-01-03"})
        wait_for(lambda: runs(url)[run][0] == "SUCCESS", "a partition materialised through the UI")

        second = Life(data)
        assert second.process.wait(timeout=20) == 1
        assert f"process {life.process.pid}" in life.said
        assert url in life.said.split("already runs")[1]

        for service in ("code server", "webserver", "daemon"):
            killed = life.pid(service)
            kill(killed)
            back = f"The {service} is back."
            wait_for(lambda back=back: back in life.said, back)
            assert life.pid(service) != killed
            wait_for(lambda: _answers(url), "the definitions, through the UI")
        run = launch(url, "quick_job", {"dagster/partition": "2026-01-04"})
        wait_for(lambda: runs(url)[run][0] == "SUCCESS", "a run after every service was killed once")

        with open_instance(data) as instance:  # housekeeping beside living services
            report = maintain_instance(instance, data / "dagster", Limits(max_age=timedelta(0), min_age=timedelta(0)))
        assert (report.runs_deleted, report.events_archived) == (1, 1)
        assert list(runs(url)) == [run]
        assert _shown(url) == {"2026-01-03": ("", "2026-01-03"), "2026-01-04": (run, "2026-01-04")}

        cut_off = launch(url, "slow_job")
        wait_for(lambda: _attempts(data) == 1, "a run in progress")
        assert life.stop() < 10
        assert supervised_processes(data) == []
        assert life.state == {}
        with open_instance(data) as instance:
            reap_orphans(instance, services_down=True)
            run_cut_off = instance.get_run_by_id(cut_off)
            assert run_cut_off is not None
            assert (run_cut_off.status, run_cut_off.tags["dagster/will_retry"]) == (DagsterRunStatus.FAILURE, "true")
            assert instance.get_materialized_partitions(AssetKey("quick")) == {"2026-01-03", "2026-01-04"}


def test_power_cuts_in_mid_run_leave_no_orphan_and_no_blocked_pool(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with no_survivors(data):
        life = Life(data)
        url = life.until_ready()
        first = launch(url, "slow_job")
        wait_for(lambda: _attempts(data) == 1, "the first attempt")
        waiting = launch(url, "slow_job")  # queues behind the pool
        services = [life.pid(service) for service in ("code server", "webserver", "daemon")]
        worker = int((data / ATTEMPTS).read_text())

        # The supervisor alone is killed: its services go with it, the worker does not notice.
        kill(life.process.pid)
        life.process.wait()
        wait_for(lambda: not any(map(alive, services)), "the end of the services", seconds=5)
        assert alive(worker)

        life = Life(data)
        url = life.until_ready(lives=2)
        assert not alive(worker), "two workers would write the same partition"
        assert runs(url)[first][0] == "FAILURE"
        wait_for(lambda: _attempts(data) == 2, "the second attempt")

        # The power goes: everything is killed at once.
        kill(life.process.pid)
        for process in supervised_processes(data):
            with contextlib.suppress(ProcessLookupError):
                kill(process.pid)
        life.process.wait()

        life = Life(data)
        url = life.until_ready(lives=3)
        assert "was cut off; it is tried again" in (data / "logs" / "prepare.log").read_text()
        wait_for(lambda: _attempts(data) >= 3, "the third attempt")
        (data / "let_go").touch()
        done = ("SUCCESS", "FAILURE", "CANCELED")
        wait_for(lambda: all(status in done for status, _ in runs(url).values()), "the end of all runs", 90)
        outcome = runs(url)
        succeeded = {run for run, (status, _) in outcome.items() if status == "SUCCESS"}
        roots = {_root(run, outcome) for run in succeeded}
        assert roots == {first, waiting}, "both requests came to their end, by a retry or by themselves"

        assert life.stop() < 10
        with open_instance(data) as instance:
            assert instance.event_log_storage.get_concurrency_info("writer").claimed_slots == []


def test_preparing_the_instance_at_once_by_several_processes(tmp_path: Path) -> None:
    for attempt in range(2):
        data = tmp_path / str(attempt)
        command = [sys.executable, "-m", "hp_pipeline.services.instance", str(data)]
        began = time.monotonic()
        together = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) for _ in range(3)]
        said = [process.communicate(timeout=60)[0].decode() for process in together]
        assert [process.returncode for process in together] == [0, 0, 0], said
        assert time.monotonic() - began < 60


def _answers(url: str) -> bool:
    try:
        return location_problem(url) is None and bool(query(url, "{ version }"))
    except (OSError, ValueError):
        return False


def _shown(url: str) -> dict[str, tuple[str, str]]:
    """What the UI shows of the asset `quick`: per partition the run of its newest event, and its metadata."""
    text = """{ assetNodeOrError(assetKey: {path: ["quick"]}) { ... on AssetNode {
        partitionStats { numMaterialized }
        assetMaterializations { partition runId timestamp
            runOrError { __typename } metadataEntries { label ... on TextMetadataEntry { text } } } } } }"""
    node = query(url, text, timeout=30)["assetNodeOrError"]
    found = {
        event["partition"]: (event["runId"], event["metadataEntries"][0]["text"])
        for event in node["assetMaterializations"]
    }
    assert node["partitionStats"]["numMaterialized"] == len(found)
    return found


def _attempts(data: Path) -> int:
    path = data / ATTEMPTS
    return len(path.read_text().splitlines()) if path.exists() else 0


def _root(run: str, outcome: dict[str, tuple[str, str | None]]) -> str:
    while parent := outcome[run][1]:
        run = parent
    return run
