"""Supervisors as real processes, for the tests that kill them."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil

from hp_pipeline.services.supervisor import end_processes, query, supervised_processes

REPOSITORY = Path(__file__).resolve().parent.parent.parent

TINY = """
import sys
from pathlib import Path
from hp_pipeline.services.supervisor import Backoff, free_port, run_services
sys.exit(run_services(Path(sys.argv[1]), None, port=free_port(21000), code_port=free_port(22000),
                      module="hp_pipeline_tests.services.tiny_definitions", backoff=Backoff(first=0.1)))
"""


def wait_for(look: Callable[[], Any], what: str, seconds: float = 60) -> Any:
    """Look until the answer is true; fail with its last value and `what` was waited for."""
    deadline = time.monotonic() + seconds
    while not (answer := look()):
        assert time.monotonic() < deadline, f"{what}: not within {seconds:.0f} s; last {answer!r}"
        time.sleep(0.1)
    return answer


class Life:
    """One life of a supervisor on a data folder: a Python process that runs `script` with the folder as argument."""

    def __init__(self, data: Path, script: str = TINY) -> None:
        self.data = data
        data.mkdir(exist_ok=True)
        self.output = data / "terminal"
        with self.output.open("ab") as terminal:
            self.process = subprocess.Popen(
                [sys.executable, "-u", "-c", script, str(data)],
                cwd=REPOSITORY,
                stdin=subprocess.DEVNULL,
                stdout=terminal,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def said(self) -> str:
        return self.output.read_text()

    @property
    def state(self) -> dict[str, Any]:
        with contextlib.suppress(OSError, ValueError):
            return dict(json.loads((self.data / "dagster" / "services.json").read_text()))
        return {}

    def pid(self, service: str) -> int:
        return int(self.state["services"][service])

    def until_ready(self, lives: int = 1) -> str:
        """Wait until the pages can be used; their address. `lives`: how many starts wrote to the same terminal."""
        wait_for(lambda: self.said.count("Ready after") >= lives or self.process.poll() is not None, "ready")
        assert self.process.poll() is None, self.said
        return str(self.state["pages"])

    def stop(self) -> float:
        """Ask it to end as a service manager does; the seconds that took."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(timeout=30) == 0, self.said
        return time.monotonic() - began


@contextlib.contextmanager
def no_survivors(data: Path) -> Iterator[None]:
    """Whatever a test does with a data folder, none of its processes outlives the test."""
    try:
        yield
    finally:
        script = [process for process in psutil.Process().children() if str(data) in process.cmdline()]
        end_processes([*script, *supervised_processes(data)], 0)


def alive(pid: int) -> bool:
    with contextlib.suppress(psutil.Error):
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    return False


def launch(url: str, job: str, tags: dict[str, str] | None = None) -> str:
    """Launch a job through the UI's own interface; the run's id."""
    listed = ", ".join(f'{{key: "{key}", value: "{value}"}}' for key, value in (tags or {}).items())
    text = f"""mutation {{ launchRun(executionParams: {{
        selector: {{repositoryLocationName: "hp_pipeline", repositoryName: "__repository__", jobName: "{job}"}},
        mode: "default", executionMetadata: {{tags: [{listed}]}} }}) {{
        __typename ... on LaunchRunSuccess {{ run {{ runId }} }} ... on PythonError {{ message }} }} }}"""
    answer = query(url, text, timeout=30)["launchRun"]
    assert answer["__typename"] == "LaunchRunSuccess", answer
    return str(answer["run"]["runId"])


def runs(url: str) -> dict[str, tuple[str, str | None]]:
    """Every run's id with its status and the id of the run that it retries."""
    text = "{ runsOrError { ... on Runs { results { runId status parentRunId } } } }"
    found = query(url, text, timeout=30)["runsOrError"]["results"]
    return {run["runId"]: (run["status"], run["parentRunId"]) for run in found}


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
