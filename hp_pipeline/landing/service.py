"""The collector as a process: `hp-pipeline collect`, from start to signal.

- SIGTERM and SIGINT end it within two seconds, with everything that was told on the disk.
- SIGHUP, or a changed settings file, begins, changes and ends only those sources whose settings changed; settings that
  cannot be used change nothing and are a problem of the health answer.
- One collector per data folder: a second one is told the number of the first and ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

from hp_pipeline.landing.collector import Collector, LiveSource, Patience
from hp_pipeline.landing.health import ADDRESS_FILE, HealthServer, live_values, of_all, status_line, write_address
from hp_pipeline.landing.housekeeping import DISK_LIMIT, RETENTION, keep_house
from hp_pipeline.landing.ledger import CallLedger
from hp_pipeline.landing.notify import notify, watchdog_interval
from hp_pipeline.landing.recorder import GATHER, Recorder
from hp_pipeline.landing.store import Landing, LandingError
from hp_pipeline.settings import Settings, SettingsError, load_settings
from hp_pipeline.settings.model import SettingsModel
from hp_pipeline.sources.registry import is_live, load_live, open_live

log = logging.getLogger(__name__)

PORT: Final = 3020
"""Port of the health answer, on 127.0.0.1; the next free one when it is taken."""

_LOCK: Final = "collector.lock"
_DEFAULT_TIMEOUT: Final = timedelta(seconds=10)

Sources = Callable[[Landing, "dict[str, list[CallLedger]]"], "list[LiveSource]"]
"""Gives the sources to ask; may raise `SettingsError`. The ledgers that they open are added by source."""


class AlreadyCollectingError(Exception):
    """Another collector works on the data folder; the message names its process."""


@dataclass
class Service:
    """One life of the collector's process.

    Attributes:
        folder: the data folder.
        sources: what is to be asked, asked again at a reload.
        watched: a file at whose change it is asked again; None: only at SIGHUP.
        port: of the health answer.
        retention, disk_limit: see `housekeeping`.
        patience: how failures are dealt with.
        housekeeping_every: seconds between two rounds of housekeeping.
        gather: seconds for which polls are gathered into one transaction.
    """

    folder: Path
    sources: Sources
    watched: Path | None = None
    port: int = PORT
    retention: timedelta = RETENTION
    disk_limit: float = DISK_LIMIT
    patience: Patience = field(default_factory=Patience)
    housekeeping_every: float = 600.0
    gather: float = GATHER

    def __post_init__(self) -> None:
        self._problems: dict[str, str] = {}
        self._ledgers: dict[str, list[CallLedger]] = {}
        self._reload = asyncio.Event()
        self._stopping = asyncio.Event()
        self._started = datetime.now(UTC)

    async def run(self) -> int:
        """Until a signal. Returns the exit code: 1 when it cannot begin (the reason was said)."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        loop.add_signal_handler(signal.SIGHUP, self._reload.set)
        landing = Landing(self.folder)
        recorder = Recorder(landing, gather=self.gather)
        collector = Collector(recorder, patience=self.patience)
        health = HealthServer(
            {
                "/health": partial(self._answer, collector),
                "/live": partial(live_values, collector),
            }
        )
        await health.start(self.port)
        write_address(self.folder, health.port)
        self._use(landing)
        await collector.use(self._chosen)
        writing = asyncio.create_task(recorder.run())
        others = [
            asyncio.create_task(self._reloads(collector, landing)),
            asyncio.create_task(self._watch_settings()),
            asyncio.create_task(self._keep_house(landing)),
            asyncio.create_task(self._show(collector)),
        ]
        log.info("collecting from %s; health: http://127.0.0.1:%d/health", _names(self._chosen), health.port)
        notify("READY=1")
        try:
            await self._stopping.wait()
            notify("STOPPING=1")
            for task in others:
                task.cancel()
            await collector.stop()
            flushed = await recorder.flush(0.7)
            if not flushed:
                log.error("%d polls could not be stored: %s", recorder.waiting, recorder.problem)
            writing.cancel()
            recorder.close()
            await health.close()
            (self.folder / ADDRESS_FILE).unlink(missing_ok=True)
            if flushed:
                landing.close()
            log.info("ended; %d polls stored in this life", recorder.stored)
            if not await _all_ended() or not flushed:
                # A task or thread of a source that does not end must not hold up the end of the process.
                logging.shutdown()
                os._exit(0 if flushed else 1)
        finally:
            for task in [*others, writing]:
                task.cancel()
        return 0

    def _use(self, landing: Landing) -> None:
        self._ledgers.clear()
        self._chosen = self.sources(landing, self._ledgers)

    def _answer(self, collector: Collector) -> Mapping[str, Any]:
        now = datetime.now(UTC)
        budgets: dict[str, list[Any]] = {}
        for id_, ledgers in self._ledgers.items():
            with contextlib.suppress(LandingError):
                budgets[id_] = [budget for ledger in ledgers for budget in ledger.budget(now)]
        return of_all(collector, list(self._problems.values()), budgets, now, self._started)

    async def _reloads(self, collector: Collector, landing: Landing) -> None:
        while True:
            await self._reload.wait()
            self._reload.clear()
            notify("RELOADING=1")
            try:
                ledgers: dict[str, list[CallLedger]] = {}
                chosen = await asyncio.to_thread(self.sources, landing, ledgers)
            except SettingsError as error:
                self._problems["settings"] = f"the settings cannot be used, the old ones go on: {error}"
                log.error("%s", self._problems["settings"])
            else:
                self._problems.pop("settings", None)
                begun, ended = await collector.use(chosen)
                self._chosen = chosen
                self._ledgers = ledgers
                log.info("settings read again: begun %s; ended %s", ", ".join(begun) or "-", ", ".join(ended) or "-")
            notify("READY=1")

    async def _watch_settings(self) -> None:
        if self.watched is None:
            return
        known = _signature(self.watched)
        while True:
            await asyncio.sleep(2)
            found = _signature(self.watched)
            if found != known and found is not None:
                known = found
                self._reload.set()

    async def _keep_house(self, landing: Landing) -> None:
        while True:
            try:
                kept = await asyncio.to_thread(keep_house, landing, datetime.now(UTC), self.retention, self.disk_limit)
            except LandingError as error:
                self._problems["disk"] = str(error)
            else:
                if kept.warning is None:
                    self._problems.pop("disk", None)
                else:
                    if "disk" not in self._problems:
                        with contextlib.suppress(LandingError):
                            await asyncio.to_thread(landing.note, kept.warning, kind="disk")
                    log.warning("%s", kept.warning)
                    self._problems["disk"] = kept.warning
            await asyncio.sleep(self.housekeeping_every)

    async def _show(self, collector: Collector) -> None:
        """Signs of life: a line for the terminal, and what systemd waits for."""
        interval = watchdog_interval()
        terminal = sys.stderr.isatty()
        turn = 0
        while True:
            if terminal or turn % 30 == 0:
                line = status_line(self._answer(collector))
                notify(f"STATUS={line[:400]}")
                if terminal:
                    width = os.get_terminal_size(sys.stderr.fileno()).columns
                    sys.stderr.write(f"\r\x1b[2K{line[: max(10, width - 1)]}")
                    sys.stderr.flush()
            if interval is not None:
                notify("WATCHDOG=1")
            turn += 1
            await asyncio.sleep(min(1.0 if terminal else 10.0, interval or 10.0))


async def _all_ended() -> bool:
    """Whether no task and no thread is left that the end of the loop would wait for."""
    left = asyncio.all_tasks() - {asyncio.current_task()}
    if left:
        _, left = await asyncio.wait(left, timeout=0.1)
    try:
        await asyncio.wait_for(asyncio.get_running_loop().shutdown_default_executor(), 0.2)
    except TimeoutError:
        return False
    return not left


def _names(sources: list[LiveSource]) -> str:
    return ", ".join(source.id for source in sources) or "no source"


def _signature(path: Path) -> tuple[int, int, int] | None:
    """What differs when a file was changed; None when it is not there (an editor is just replacing it)."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def live_source(
    source: SettingsModel,
    settings: Settings,
    landing: Landing,
    ledgers: dict[str, list[CallLedger]],
    clocks: Mapping[str, Callable[[], Any]] | None = None,
) -> LiveSource:
    """What the collector is to know of one live source of the settings.

    Args:
        source: its settings.
        settings: those of the house.
        landing: where its state and the ledgers of its calls are kept.
        ledgers: by source, those that it opens are added.
        clocks: clocks that it goes by (`now`, `wall`, `monotonic`); the machine's without them.
    """
    id_: str = getattr(source, "id")  # noqa: B009 - the models of sources have it
    every: timedelta | None = getattr(source, "every", None)

    def open_ledger(account: str, windows: Any) -> CallLedger:
        ledger = CallLedger(landing, account, windows)
        ledgers.setdefault(id_, []).append(ledger)
        return ledger

    def open_source() -> Any:
        return open_live(
            source,
            {
                "folder": landing.path.parent,
                "directory": settings.directory,
                "time_zone": settings.site.time_zone,
                "open_ledger": open_ledger,
                "state": landing.state(id_),
                "keep": partial(landing.keep, id_),
                **(clocks or {}),
            },
        )

    return LiveSource(
        id=id_,
        kind=getattr(source, "kind"),  # noqa: B009
        every=every,
        timeout=getattr(source, "timeout", None) or _DEFAULT_TIMEOUT,
        load=partial(load_live, source),
        open=open_source,
        settings=(source, settings.site.time_zone),
    )


def sources_of(settings_path: Path) -> Sources:
    """The live sources of a settings file, read anew at each call."""

    def read(landing: Landing, ledgers: dict[str, list[CallLedger]]) -> list[LiveSource]:
        settings = load_settings(settings_path)
        return [live_source(source, settings, landing, ledgers) for source in settings.sources if is_live(source)]

    return read


def collector_of(settings_path: Path, folder: Path, port: int = PORT) -> Service:
    """The collector of a settings file and a data folder.

    Raises:
        SettingsError: the settings cannot be used.
    """
    bounds = load_settings(settings_path).landing
    return Service(
        folder,
        sources_of(settings_path),
        watched=settings_path,
        port=port,
        retention=bounds.retention,
        disk_limit=bounds.disk_limit,
    )


@contextlib.contextmanager
def only_one_collector(folder: Path) -> Iterator[None]:
    """Hold the data folder's lock for collectors; the system releases it when the process dies, however it dies.

    Raises:
        AlreadyCollectingError: another process holds it.
        LandingError: the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / _LOCK).open("a+", encoding="utf-8")
    except OSError as error:
        raise LandingError(
            f"cannot write to the data folder {folder} ({error.strerror})",
            "Give this user the right to write there, or name another folder with --data",
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            pid = lock.read().strip() or "unknown"
            raise AlreadyCollectingError(
                f"A collector already works on {folder}: process {pid}. End it, or name another folder with --data."
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def run_collector(service: Service) -> int:
    """Collect until a signal; call it in the main thread. Returns the exit code, 1 when it could not begin."""
    try:
        with only_one_collector(service.folder):
            return asyncio.run(service.run())
    except (AlreadyCollectingError, LandingError, SettingsError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
