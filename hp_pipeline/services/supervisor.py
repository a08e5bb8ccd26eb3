"""Keep a few long-lived processes up: what `hp-pipeline run` does from start to Ctrl-C.

What is promised, and tested with real processes:

- one supervisor per data folder; a second one is told the number of the first and ends;
- a service that dies is started again, at once at first, then ever later, and soon again once it ran for long;
- the services die with the supervisor, also when it is killed with -9; workers of runs that survive it are ended
  at the next start, before Dagster's orphaned runs are failed (and so retried) and their pool slots freed;
- SIGINT, SIGTERM and a closed terminal end everything within ten seconds, the daemon first, so that nothing new
  is started while the rest goes down;
- when the owner changes the settings file, the code server is started anew with it, unless it cannot be used;
- a service that is needed only from some change on (the collector, once there is a live source) is started then;
- every service logs into its own file below `logs/`, of bounded size.

This module does not import Dagster: a process that lives for months should be small (20 MB instead of 120).
"""

import asyncio
import contextlib
import ctypes
import fcntl
import hashlib
import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TextIO

import psutil

from hp_pipeline.services.environment import SUPERVISED, dagster_databases, dagster_environment, dagster_home

LOOPBACK: Final = "127.0.0.1"
LOCATION: Final = "hp_pipeline"
"""Name of the code location in the UI."""

_STOP_BUDGET: Final = 8.0  # seconds in which everything must have ended
_STOP_PATIENCE: Final = 2.5  # seconds that one service is given to end by itself
_TAIL_LINES: Final = 15
_COLOUR: Final = re.compile(r"\x1b\[[0-9;]*m")

Say = Callable[[str], None]
Probe = Callable[[], "str | None"]
"""Looks once whether a service is ready: None when it is, else what is still missing. May block for a second."""


@dataclass(frozen=True)
class Service:
    """A process to keep up.

    Attributes:
        name: short name for people and the log file: "daemon" logs to `logs/daemon.log`.
        command: program and arguments; it must stay in the foreground.
        ready: tells whether the service can be used yet; None: as soon as it runs.
        ready_timeout: seconds after which the services that wait for this one are started nonetheless.
        environment: variables laid over those of all services.
        watches: files that the service reads once, when it starts: it is started anew when one of them changes.
        check: a command that must succeed before that (else the service goes on with what it has); empty: none.
        wanted: whether it is needed; asked again until it is, then the service is started, and kept. May block for a
            moment. None: it is needed from the start.
    """

    name: str
    command: tuple[str, ...]
    ready: Probe | None = None
    ready_timeout: float = 90.0
    environment: Mapping[str, str] = field(default_factory=dict)
    watches: tuple[Path, ...] = ()
    check: tuple[str, ...] = ()
    wanted: Callable[[], bool] | None = None


@dataclass(frozen=True)
class Backoff:
    """How long to wait before a service that died is started again, in seconds.

    The wait doubles from `first` to `most`; it starts over once the service ran for `reset_after`.
    """

    first: float = 0.5
    most: float = 60.0
    reset_after: float = 60.0

    def delay(self, failures: int) -> float:
        """The wait after the given number of deaths in a row (1 or more)."""
        return float(min(self.most, self.first * 2 ** min(failures - 1, 30)))


class AlreadyRunningError(Exception):
    """Another supervisor holds the data folder; the message names its process."""


def _to_terminal(message: str) -> None:
    sys.stdout.write(message + "\n")
    sys.stdout.flush()


def run_services(
    data_dir: Path,
    settings_path: Path | None,
    *,
    port: int = 3000,
    code_port: int = 4266,
    module: str = "hp_pipeline.definitions",
    extra: Sequence[Service] = (),
    backoff: Backoff | None = None,
    say: Say | None = None,
    when_ready: Callable[[str], None] | None = None,
) -> int:
    """Run code server, webserver and daemon until a signal ends them; call it in the main thread.

    Args:
        data_dir: the data folder; made when it is missing.
        settings_path: the owner's settings file, handed to the services as `HP_SETTINGS`; None: none.
        port: of the pages, on 127.0.0.1; when it is taken, the next free one (it is said).
        code_port: of the code server, on 127.0.0.1; when it is taken, the next free one.
        module: what the code server loads.
        extra: further services, started after Dagster's and ended before them.
        backoff: how soon a dead service is started again.
        say: takes one message for the person at the terminal; default: standard output.
        when_ready: called once, in a thread of its own, with the address of the pages when they can be used.

    Returns:
        The exit code: 0 when a signal ended it, 1 when it could not start (the reason was said).
    """
    say = say or _to_terminal
    data_dir = data_dir.resolve()
    began = time.monotonic()
    try:
        with only_one_supervisor(data_dir):
            left_over = supervised_processes(data_dir)
            if left_over:
                say(f"Ending {len(left_over)} processes that an earlier start left behind …")
                end_processes(left_over, 0)
            wanted, port = port, free_port(port)
            if port != wanted:
                say(f"Port {wanted} is taken by another program; the pages are at port {port}.")
            url = f"http://{LOOPBACK}:{port}"

            def ready() -> None:
                say(
                    f"Ready after {time.monotonic() - began:.0f} s: {url}   (Ctrl-C ends it, {data_dir / 'logs'} tells)"
                )
                if when_ready:
                    when_ready(url)

            code_port = free_port(code_port, besides={port})
            supervision = Supervision(
                data_dir,
                [*_dagster_services(data_dir, module, settings_path, (port, code_port)), *extra],
                environment=dagster_environment(data_dir, settings_path),
                preparation=(sys.executable, "-m", "hp_pipeline.services.instance", str(data_dir)),
                pages=url,
                backoff=backoff or Backoff(),
                say=say,
                when_ready=ready,
                held=dagster_databases(data_dir),
            )
            return asyncio.run(supervision.run())
    except (AlreadyRunningError, OSError) as error:
        say(str(error))
        return 1


def _dagster_services(data_dir: Path, module: str, settings_path: Path | None, ports: tuple[int, int]) -> list[Service]:
    """Dagster's three processes; writes the file that tells the latter two where the first one is."""
    port, code_port = ports
    workspace = dagster_home(data_dir) / "workspace.yaml"
    workspace.write_text(
        "# Written at every start: the port is one that was free.\nload_from:\n  - grpc_server:\n"
        f"      host: {LOOPBACK}\n      port: {code_port}\n      location_name: {LOCATION}\n",
        encoding="utf-8",
    )
    url = f"http://{LOOPBACK}:{port}"
    python = [sys.executable, "-m"]
    code = [*python, "dagster", "api", "grpc", "-m", module, "-h", LOOPBACK, "-p", str(code_port)]
    pages = [*python, "dagster_webserver", "-h", LOOPBACK, "-p", str(port), "-w", str(workspace)]
    daemon = [*python, "hp_pipeline.services.daemon", str(workspace)]
    return [
        Service(
            "code server",
            (*code, "--location-name", LOCATION),
            lambda: _refuses_connection(code_port),
            watches=(settings_path.resolve(),) if settings_path else (),
            check=(*python, "dagster", "definitions", "validate", "-m", module),
        ),
        Service("webserver", tuple(pages), lambda: location_problem(url)),
        Service("daemon", tuple(daemon), lambda: _daemon_problem(url)),
    ]


def supervised_processes(data_dir: Path) -> list[psutil.Process]:
    """All processes that a supervisor of this data folder started, directly or not; not this one and its parents.

    They are known by a variable in their environment, which children inherit; run workers outlive the code
    server that started them, so no tree of processes leads to them.
    """
    marker = str(data_dir.resolve())
    ours = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(SUPERVISED) == marker and process.pid not in ours:
                found.append(process)
    return found


def end_processes(processes: Sequence[psutil.Process], patience: float) -> None:
    """Ask the processes to end, kill those that still run after `patience` seconds (0: kill at once)."""
    alive = list(processes)
    if patience > 0:
        for process in alive:
            with contextlib.suppress(psutil.Error):
                process.terminate()
        _, alive = psutil.wait_procs(alive, timeout=patience)
    for process in alive:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(alive, timeout=2)


@dataclass
class Supervision:
    """One life of a supervisor: starts services, keeps them up, ends them when a signal comes.

    Attributes:
        data_dir: the data folder, absolute; logs go to `logs/`, the state to `dagster/services.json`.
        services: the first one is started alone, because the others ask it; when it is ready (or its time is
            up), all others are started together. They are ended in the opposite order of the list.
        environment: variables laid over the environment of the supervisor, for all services.
        preparation: a command that must succeed before the first service is started; empty: none.
        pages: address that people open, for the state file.
        backoff: how soon a dead service is started again.
        log_bytes: a log file that grows beyond it is set aside; three old ones are kept.
        say: takes one message for the person at the terminal.
        when_ready: called once, in a thread of its own, when every service is ready.
        parent_death_signal: have Linux kill the services when the supervisor is killed; where there is no such
            thing, a guardian process waits for the end of the supervisor and does it.
        watch_interval: seconds between two looks at watched files.
        held: SQLite databases of the services, which are kept open meanwhile (see `hold_open`).
    """

    data_dir: Path
    services: Sequence[Service]
    environment: Mapping[str, str]
    preparation: tuple[str, ...] = ()
    pages: str = ""
    backoff: Backoff = field(default_factory=Backoff)
    log_bytes: int = 5_000_000
    say: Say = field(default=_to_terminal)
    when_ready: Callable[[], None] | None = None
    parent_death_signal: bool = sys.platform == "linux"
    watch_interval: float = 2.0
    held: Sequence[Path] = ()

    def __post_init__(self) -> None:
        self._home = dagster_home(self.data_dir)
        self._logs = self.data_dir / "logs"
        self._stopping = asyncio.Event()
        self._processes: dict[str, asyncio.subprocess.Process] = {}
        self._ready = {service.name: asyncio.Event() for service in self.services}
        self._renew = {service.name: asyncio.Event() for service in self.services}

    async def run(self) -> int:
        """Until a signal: 0; when the preparation fails: 1."""
        self._listen_to_signals()
        self._home.mkdir(parents=True, exist_ok=True)
        self._logs.mkdir(parents=True, exist_ok=True)
        try:
            if not self.parent_death_signal:
                guard = (sys.executable, "-m", "hp_pipeline.services.guardian", str(self.data_dir))
                self._guardian = await self._spawn("guardian", guard, {}, stdin=subprocess.PIPE)
            if self.preparation and not await self._prepare():
                return 0 if self._stopping.is_set() else 1
            with hold_open(self.held):
                tasks = [asyncio.create_task(self._start_all()), asyncio.create_task(self._rotate_logs())]
                await self._stopping.wait()
                self.say("Stopping …")
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                await self._stop_all()
            return 0
        finally:
            (self._home / "services.json").unlink(missing_ok=True)
            # Whatever happened above: nothing of ours may live on.
            end_processes(supervised_processes(self.data_dir), 0)

    def _listen_to_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup
                loop.add_signal_handler(number, self._stopping.set)

    async def _prepare(self) -> bool:
        """Run the preparation; whether it succeeded and nobody wants to stop."""
        process = await self._spawn("prepare", self.preparation, {})
        await _first_of(process.wait(), self._stopping.wait())
        if self._stopping.is_set():
            return False
        if process.returncode != 0:
            self.say(f"{self._home} could not be prepared:\n{self._tail('prepare')}")
            return False
        return True

    async def _start_all(self) -> None:
        """Start the services and keep them; ends by cancellation only."""
        async with asyncio.TaskGroup() as group:
            for service in self.services:
                if service.wanted is not None and not await asyncio.to_thread(service.wanted):
                    self._ready[service.name].set()  # nobody waits for it
                    group.create_task(self._keep_once_wanted(service, service.wanted))
                    continue
                group.create_task(self._keep(service))
                if service.watches:
                    group.create_task(self._watch(service))
                if service is self.services[0]:
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._ready[service.name].wait(), service.ready_timeout)
            await asyncio.gather(*(event.wait() for event in self._ready.values()))
            if self.when_ready:
                # Not a thread of the loop's: the end of the supervisor does not wait for it.
                threading.Thread(target=self.when_ready, name="when ready", daemon=True).start()

    async def _keep_once_wanted(self, service: Service, wanted: Callable[[], bool]) -> None:
        while not await asyncio.to_thread(wanted):
            await asyncio.sleep(self.watch_interval)
        self.say(f"The {service.name} is needed now: it is started.")
        await self._keep(service)

    async def _keep(self, service: Service) -> None:
        """Start a service, wait for its end, start it again, for ever."""
        failures = 0
        while True:
            started = time.monotonic()
            process = await self._spawn(service.name, service.command, service.environment)
            self._processes[service.name] = process
            self._write_state()
            watch = asyncio.create_task(self._announce(service, again=failures > 0))
            try:
                code = await process.wait()
            finally:
                watch.cancel()
            self._ready[service.name].clear()
            if self._renew[service.name].is_set():
                self._renew[service.name].clear()
                continue
            ran = time.monotonic() - started
            failures = 1 if ran >= self.backoff.reset_after else failures + 1
            delay = self.backoff.delay(failures)
            self.say(f"The {service.name} {_how_it_ended(code)} after {ran:.0f} s; starting it again in {delay:.1f} s.")
            if failures % 3 == 0:
                log = self._log(service.name)
                self.say(f"It keeps dying. The end of {log}:\n{self._tail(service.name)}")
            with contextlib.suppress(TimeoutError):  # a changed file may be the cure
                await asyncio.wait_for(self._renew[service.name].wait(), delay)
            self._renew[service.name].clear()

    async def _watch(self, service: Service) -> None:
        """Start the service anew when a file that it watches has changed, and can be loaded."""
        known = await asyncio.to_thread(_contents, service.watches)
        while True:
            await asyncio.sleep(self.watch_interval)
            found = await asyncio.to_thread(_contents, service.watches)
            if found == known:
                continue
            changed = " and ".join(path.name for path in service.watches if found[path] != known[path])
            known = found
            name = f"{service.name} check"
            if service.check:
                checking = await self._spawn(name, service.check, service.environment)
                if await checking.wait() != 0:
                    self.say(
                        f"{changed} was changed, but cannot be used; the {service.name} goes on with what it has. "
                        f"The end of {self._log(name)}:\n{self._tail(name)}"
                    )
                    continue
            self.say(f"{changed} was changed: the {service.name} is started anew.")
            self._renew[service.name].set()
            with contextlib.suppress(ProcessLookupError, KeyError):
                # Not asked to end: the code server would first wait for its runs, which go on without it.
                self._processes[service.name].kill()

    async def _announce(self, service: Service, *, again: bool) -> None:
        """Wait until the service is ready and tell those who wait for it."""
        problem = ""
        told = time.monotonic()
        while service.ready and (missing := await asyncio.to_thread(service.ready)) is not None:
            if missing != problem and time.monotonic() - told > 20:  # what lasts a moment interests nobody
                self.say(f"Waiting for the {service.name}: {missing}")
                problem = missing
            await asyncio.sleep(0.2)
        self._ready[service.name].set()
        if again:
            self.say(f"The {service.name} is back.")

    async def _stop_all(self) -> None:
        """End everything, the last started first; workers of runs before the code server, which reports their end."""
        deadline = time.monotonic() + _STOP_BUDGET
        for service in reversed(self.services):
            if service is self.services[0]:
                own = {process.pid for process in self._processes.values()}
                workers = [process for process in supervised_processes(self.data_dir) if process.pid not in own]
                await asyncio.to_thread(end_processes, workers, 0)
            process = self._processes.get(service.name)
            if process is None or process.returncode is not None:
                continue
            patience = max(0.1, min(_STOP_PATIENCE, deadline - time.monotonic()))
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            try:
                await asyncio.wait_for(process.wait(), patience)
            except TimeoutError:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()

    async def _spawn(
        self, name: str, command: Sequence[str], environment: Mapping[str, str], stdin: int = subprocess.DEVNULL
    ) -> asyncio.subprocess.Process:
        # The service writes to the file itself: a pipe through this process would break workers that outlive it,
        # and block everything while somebody has stopped it with Ctrl-Z.
        with self._log(name).open("ab") as log:
            log.write(f"--- {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC: starting {name}\n".encode())
            log.flush()
            return await asyncio.create_subprocess_exec(
                *command,
                stdin=stdin,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self.environment, SUPERVISED: str(self.data_dir), **environment},
                start_new_session=True,  # Ctrl-C reaches the supervisor alone, which ends the others in order
                preexec_fn=_die_with_parent(os.getpid()) if self.parent_death_signal else None,
            )

    async def _rotate_logs(self) -> None:
        """Keep each log below a size: copied aside and emptied, because the writers hold the file open to append."""
        while True:
            await asyncio.sleep(5)
            for log in self._logs.glob("*.log"):
                if log.stat().st_size > self.log_bytes:
                    await asyncio.to_thread(rotate, log)

    def _log(self, name: str) -> Path:
        return self._logs / f"{name.replace(' ', '_')}.log"

    def _tail(self, name: str) -> str:
        with self._log(name).open("rb") as log:
            log.seek(0, os.SEEK_END)
            log.seek(max(0, log.tell() - 16_384))
            lines = _COLOUR.sub("", log.read().decode(errors="replace")).splitlines()
        return "\n".join(f"  | {line}" for line in lines[-_TAIL_LINES:])

    def _write_state(self) -> None:
        """Who runs where, for other commands and for people: `dagster/services.json`."""
        state = {
            "pid": os.getpid(),
            "pages": self.pages,
            "services": {name: process.pid for name, process in self._processes.items()},
        }
        beside = self._home / ".services.json"
        beside.write_text(json.dumps(state, indent=1), encoding="utf-8")
        beside.replace(self._home / "services.json")


def _contents(paths: Sequence[Path]) -> dict[Path, str]:
    """A fingerprint of each file; empty when there is none."""
    found = {}
    for path in paths:
        found[path] = ""
        with contextlib.suppress(OSError):
            found[path] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def rotate(log: Path, keep: int = 3) -> None:
    """Set the content of a log that is open elsewhere (for appending) aside as `<name>.1`, the oldest goes."""
    for number in range(keep - 1, 0, -1):
        with contextlib.suppress(FileNotFoundError):
            log.with_name(f"{log.name}.{number}").replace(log.with_name(f"{log.name}.{number + 1}"))
    shutil.copyfile(log, log.with_name(f"{log.name}.1"))
    os.truncate(log, 0)


@contextlib.contextmanager
def hold_open(databases: Sequence[Path]) -> Iterator[None]:
    """Keep SQLite databases open that others open and close all the time, and that keep a log (WAL).

    Dagster opens a connection for every statement. When the last connection to a database ends, SQLite copies the log
    into the database, removes the log and its index, and the next statement makes them anew: a heartbeat of 50 bytes
    becomes 100 kB on the disk, and a day of an idle Dagster more than a gigabyte. With one connection that stays, and
    does nothing, the log is copied once it has a thousand pages. Nothing of what is promised changes: whoever commits
    has it on the disk.

    A database that does not exist (yet), or cannot be opened, is left out.
    """
    with contextlib.ExitStack() as stack:
        for path in databases:
            with contextlib.suppress(sqlite3.Error):
                uri = f"{path.absolute().as_uri()}?mode=rw"
                connection = stack.enter_context(contextlib.closing(sqlite3.connect(uri, uri=True)))
                connection.execute("SELECT count(*) FROM sqlite_master").fetchall()  # from now on it holds its lock
        yield


def free_port(wanted: int, besides: set[int] | None = None) -> int:
    """The first free TCP port on the loopback from `wanted` on.

    Raises:
        OSError: none of the next 100 is free.
    """
    for port in range(wanted, min(wanted + 100, 65_536)):
        if port in (besides or ()):
            continue
        with socket.socket() as probe, contextlib.suppress(OSError):
            # Free although connections of an earlier life are still being wound up; never while somebody listens.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((LOOPBACK, port))
            return port
    raise OSError(f"No free port on {LOOPBACK} from {wanted} to {wanted + 99}: name another one with --port.")


def query(url: str, text: str, timeout: float = 3.0) -> dict[str, Any]:
    """Ask the webserver at `url` a GraphQL question.

    Raises:
        OSError: nobody answers, or not within `timeout` seconds.
        ValueError: the answer is not what GraphQL answers, or is an error.
    """
    request = urllib.request.Request(
        f"{url}/graphql", json.dumps({"query": text}).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=timeout) as answer:
        content = json.load(answer)
    if not isinstance(content, dict) or content.get("errors") or not isinstance(content.get("data"), dict):
        raise ValueError(f"GraphQL: {content}")
    return dict(content["data"])


def location_problem(url: str) -> str | None:
    """Why the definitions cannot be used through the webserver yet; None when they can."""
    text = """{ workspaceOrError { ... on Workspace { locationEntries { loadStatus
        locationOrLoadError { __typename ... on PythonError { message } } } } ... on PythonError { message } } }"""
    try:
        workspace = query(url, text)["workspaceOrError"]
    except (OSError, ValueError) as error:
        return f"no answer at {url} ({error})"
    entries = workspace.get("locationEntries") or []
    if not entries:
        return str(workspace.get("message") or "no code location")
    for entry in entries:
        loaded = entry["locationOrLoadError"] or {}
        if loaded.get("__typename") == "PythonError":
            return f"the definitions do not load: {loaded['message'].strip()}"
        if entry["loadStatus"] != "LOADED" or not loaded:
            return "the definitions are being loaded"
    return None


def _daemon_problem(url: str) -> str | None:
    text = "{ instance { daemonHealth { allDaemonStatuses { daemonType required healthy } } } }"
    try:
        statuses = query(url, text)["instance"]["daemonHealth"]["allDaemonStatuses"]
    except (OSError, ValueError) as error:
        return f"no answer at {url} ({error})"
    missing = [status["daemonType"].lower() for status in statuses if status["required"] and not status["healthy"]]
    return f"no sign of life from {', '.join(missing)}" if missing else None


def _refuses_connection(port: int) -> str | None:
    """The code server listens only after it has loaded the definitions."""
    try:
        socket.create_connection((LOOPBACK, port), timeout=1).close()
    except OSError as error:
        return f"no answer at port {port} ({error})"
    return None


@contextlib.contextmanager
def only_one_supervisor(data_dir: Path) -> Iterator[None]:
    """Hold the data folder's lock for supervisors; the system releases it when the process dies, however it dies.

    Raises:
        AlreadyRunningError: another process holds it.
    """
    home = dagster_home(data_dir)
    home.mkdir(parents=True, exist_ok=True)
    with (home / "supervisor.lock").open("a+", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyRunningError(_already_running(lock, home)) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def _already_running(lock: TextIO, home: Path) -> str:
    lock.seek(0)
    pid = lock.read().strip() or "unknown"
    where = ""
    with contextlib.suppress(OSError, ValueError, KeyError):
        where = f" at {json.loads((home / 'services.json').read_text(encoding='utf-8'))['pages']}"
    return (
        f"The pipeline already runs on {home.parent}{where}: process {pid}. "
        f"End it with Ctrl-C in its terminal or `kill {pid}`, or name another folder with --data."
    )


def _die_with_parent(parent: int) -> Callable[[], None]:
    """For Linux: have the system kill the child about to be started when its parent dies, also by kill -9."""
    libc = ctypes.CDLL(None, use_errno=True)
    set_parent_death_signal = 1  # PR_SET_PDEATHSIG of <linux/prctl.h>

    def ask() -> None:
        libc.prctl(set_parent_death_signal, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it died before the call above
            os._exit(1)

    return ask


def _how_it_ended(code: int) -> str:
    if code < 0:
        return f"was killed by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"


async def _first_of(*waits: Awaitable[Any]) -> None:
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    _, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
