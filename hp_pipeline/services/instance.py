"""Dagster's home below the data folder: made once, without races, and repaired after a crash.

Importing this module imports Dagster (0.7 s, 100 MB). The supervisor, which lives for months, therefore does not
import it but runs it: ``python -m hp_pipeline.services.instance DATA`` prepares the instance and reaps orphans.
"""

import argparse
import contextlib
import fcntl
import io
import json
import sys
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Final

import psutil
from dagster import DagsterEventType, DagsterInstance, DagsterRun, DagsterRunStatus, RunsFilter

from hp_pipeline.durability import write_durably
from hp_pipeline.services.environment import dagster_databases, dagster_home

CONFIGURATION: Final = Path(__file__).with_name("dagster.yaml")
"""The settings of the instance that the project ships (`dagster.yaml` at the top of the repository)."""

_UNDER_WAY: Final = [DagsterRunStatus.STARTING, DagsterRunStatus.STARTED, DagsterRunStatus.CANCELING]
_LOST: Final = "The run's worker is gone: the machine or the services stopped, or the process was killed."


def prepare_instance(data_dir: Path) -> Path:
    """Make Dagster's home ready for use and return it; cheap when it is ready already.

    Writes `dagster.yaml` when it differs from the shipped one, and makes or migrates the databases once per
    version of Dagster. Several processes may call this at the same time: they take turns by a file lock, because
    Dagster itself crashes when three processes open an empty home at once. Sets nothing global.

    Raises:
        OSError: the folder cannot be written.
    """
    home = dagster_home(data_dir)
    home.mkdir(parents=True, exist_ok=True)
    with _exclusive(home / "prepare.lock"):
        _configure(data_dir)
        version = metadata.version("dagster").encode()
        databases_exist = all(path.is_file() for path in dagster_databases(data_dir))
        if not databases_exist or _content(home / "prepared_for") != version:
            # Dagster prints its progress; what goes wrong is raised.
            with contextlib.redirect_stdout(io.StringIO()), open_instance(data_dir) as instance:
                instance.upgrade()
            write_durably(home / "prepared_for", version)
    return home


def configuration(data_dir: Path) -> bytes:
    """The settings of a data folder's instance: the shipped ones, and where its event log lies, which is our own."""
    place = json.dumps(str(dagster_home(data_dir) / "history" / "runs"))  # a string of YAML, too
    log = "event_log_storage:\n  module: hp_pipeline.services.event_log\n  class: EventLog\n  config:\n"
    return CONFIGURATION.read_bytes() + f"\n{log}    base_dir: {place}\n".encode()


def _configure(data_dir: Path) -> None:
    path, wanted = dagster_home(data_dir) / "dagster.yaml", configuration(data_dir)
    if _content(path) != wanted:
        write_durably(path, wanted)


@contextlib.contextmanager
def open_instance(data_dir: Path) -> Iterator[DagsterInstance]:
    """The instance of a prepared data folder, whatever `DAGSTER_HOME` says (see `prepare_instance`); also of one that
    was moved or copied since, whose settings still name the old place."""
    _configure(data_dir)
    with DagsterInstance.from_config(str(dagster_home(data_dir))) as instance:
        yield instance


def reap_orphans(instance: DagsterInstance, *, services_down: bool) -> list[str]:
    """Fail the runs whose worker is gone, free the pool slots that finished runs still hold.

    A run is an orphan when storage calls it in progress but the process that executed it (its number is in the
    run's log) exists no more. Without this, a run that was cut off by a power failure is "started" for ever and
    its pool is blocked for ever. Failed this way, it is retried by the daemon, as `run_retries` says.

    Args:
        instance: the instance to repair.
        services_down: True when no code server is alive, as before a start: then runs that were being launched
            and runs whose worker never wrote its number are orphans too. False in the midst of life: these are
            left to run monitoring.

    Returns:
        The ids of the runs that were failed.
    """
    reaped = []
    for run in instance.get_runs(filters=RunsFilter(statuses=_UNDER_WAY)):
        workers = _worker_pids(instance, run)
        alive = any(_is_running_since(pid, latest) for pid, latest in workers)
        if alive or not (workers or services_down):
            continue
        instance.report_run_failed(run, _LOST)
        reaped.append(run.run_id)
    storage = instance.event_log_storage
    if storage.supports_global_concurrency_limits:
        for run_id in storage.get_concurrency_run_ids():
            holder = instance.get_run_by_id(run_id)
            if holder is None or holder.is_finished:
                storage.free_concurrency_slots_for_run(run_id)
    return reaped


def _worker_pids(instance: DagsterInstance, run: DagsterRun) -> list[tuple[int, float]]:
    """Numbers of the processes that said they execute this run, each with the time (Unix, s) it said so."""
    records = instance.get_records_for_run(run.run_id, of_type=DagsterEventType.ENGINE_EVENT).records
    found = []
    for record in records:
        event = record.event_log_entry.dagster_event
        entry = event.engine_event_data.metadata.get("pid") if event else None
        if entry is not None:
            found.append((int(str(entry.value)), record.event_log_entry.timestamp))
    return found


def _is_running_since(pid: int, moment: float) -> bool:
    """Whether the process that had number `pid` at `moment` (Unix, s) still runs: numbers are given out again."""
    try:
        process = psutil.Process(pid)
        return bool(process.status() != psutil.STATUS_ZOMBIE and process.create_time() <= moment + 1)
    except psutil.Error:
        return False


@contextlib.contextmanager
def _exclusive(path: Path) -> Iterator[None]:
    """Hold the lock file `path`; the system releases it when the process dies, however it dies."""
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def main(arguments: Sequence[str] | None = None) -> int:
    """Prepare the instance of a data folder and reap the orphans of an earlier life; for the supervisor."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("data", type=Path, help="the data folder")
    data_dir: Path = parser.parse_args(arguments).data
    prepare_instance(data_dir)
    with open_instance(data_dir) as instance:
        for run_id in reap_orphans(instance, services_down=True):
            sys.stdout.write(f"run {run_id} was cut off; it is tried again\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
