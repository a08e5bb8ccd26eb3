"""One unit that speaks Modbus, polled by the collector.

A poll asks for the fast registers, and for the slow ones too when they are due. Which requests that takes is planned
once and again whenever the device shows that it has nothing at an address. What is known of the device, and where
its meters stood, is kept through `keep` and given back as `state` after a restart.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from hp_pipeline.settings.loading import settings_path
from hp_pipeline.settings.sources import ModbusSource
from hp_pipeline.sources.live import Outcome, Polled, PollError
from hp_pipeline.sources.modbus.decode import MeterState, Picture
from hp_pipeline.sources.modbus.planner import Block, Knowledge, plan
from hp_pipeline.sources.modbus.wire import LINES, DeviceError, Line, LineAddress, Lines, WireError
from hp_pipeline.vocabulary.registers import MOST_WORDS, Register, RegisterMap, RegisterMapError, Table, load_map

ILLEGAL: Final = frozenset({1, 2, 3})
"""Exceptions that stay: the function, the address or the number of registers is none that the device knows."""
BUSY: Final = frozenset({5, 6})
"""Exceptions that pass: the device works at something else."""
GATEWAY: Final = {10: "the gateway has no way to", 11: "the gateway had no answer from"}
"""Exceptions of a gateway, when the device behind it is away."""
BUSY_PAUSES: Final = (0.2, 0.5, 1.0)
"""Seconds before a busy device is asked again."""


@dataclass
class PollReport:
    """What happened in the newest poll, for `probe`, the health page and tests.

    Attributes:
        requests: requests sent.
        reasons: points that gave no reading, and why.
        refused: requests that the device did not answer as asked (`input 506+12: exception 2 (…)`).
    """

    requests: int = 0
    reasons: dict[str, str] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)


class RegisterSource:
    """Polls the registers of one unit. Made by `open_source`."""

    def __init__(
        self,
        settings: ModbusSource,
        register_map: RegisterMap,
        line: Line,
        give_back: Callable[[Line], Any],
        *,
        state: Mapping[str, Any] | None = None,
        keep: Callable[[str, Any], None] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.settings = settings
        self.map = register_map
        self.report = PollReport()
        self._line = line
        self._give_back = give_back
        self._monotonic, self._wall = monotonic, wall
        self._unit = register_map.unit_id if settings.unit is None else settings.unit
        self._timeout = settings.answer_timeout.total_seconds()
        self._apart = {group.name for group in register_map.groups if group.optional}
        self._model: str | None = settings.model
        self._plans: dict[bool, list[Block]] = {}
        self._slow_due = float("-inf")
        self._whole: set[tuple[Table, int, int]] = set()
        self._most = MOST_WORDS
        self._closed = False
        self._keep = keep
        self._kept: dict[str, Any] = {}
        self._device = _part(state, "device")
        self._knowledge = Knowledge()
        kept_meters = _part(state, "meters")
        self._meters = {meter.name: MeterState.from_state(kept_meters.get(meter.name)) for meter in register_map.meters}
        self._registers: list[Register] = []

    @property
    def identity(self) -> str:
        """Map and model: when it changes, everything that is read has to be looked at anew."""
        return f"{self.map.name}@{self.map.fingerprint} {self._model or ''}".strip()

    @property
    def model(self) -> str | None:
        """The model, once it is known."""
        return self._model

    @property
    def knowledge(self) -> Knowledge:
        """What the device was found to have and not to have."""
        return self._knowledge

    def state(self) -> dict[str, Any]:
        """What is worth keeping over a restart, by key, as JSON can hold it: what the device was found to have and not
        to have (under this map, on this model), and where its meters stood."""
        return {
            "device": {"map": self.map.fingerprint, "model": self._model, **self._knowledge.state()},
            "meters": {name: meter.state() for name, meter in self._meters.items() if meter.at is not None},
        }

    def _keep_what_changed(self) -> None:
        if self._keep is None:
            return
        state = self.state()
        # Of a meter only what changes when it counts: the time alone is no reason to write.
        content = {
            "device": state["device"],
            "meters": {name: (m["total"], m["day"], m["held_since"]) for name, m in state["meters"].items()},
        }
        for key, value in content.items():
            if self._kept.get(key) != value:
                self._keep(key, state[key])
                self._kept[key] = value

    async def poll(self) -> Polled:
        """Read what is due.

        What answers is told, even if some requests are refused.

        Raises:
            PollError: nothing could be read.
        """
        self._line_is_ours()
        report = self.report = PollReport()
        before = self._line.requests
        try:
            await self._recognise()
            now = self._monotonic()
            slow = now >= self._slow_due
            picture = Picture()
            failures: list[PollError] = []
            for block in self._plan(slow):
                try:
                    await self._read(block, picture)
                except PollError as error:
                    if error.outcome in (Outcome.timeout, Outcome.refused, Outcome.broken):
                        raise
                    report.refused[_named(block)] = error.what
                    failures.append(error)
            if not picture.values and not picture.reasons:
                raise failures[0] if failures else self._nothing_left()
            if slow:
                every = self.settings.slow_every.total_seconds()
                # On the grid of the first slow poll, so that the pace does not drift.
                self._slow_due = now + every if self._slow_due < now - every else self._slow_due + every
            meters = [(meter, self._meters[meter.name]) for meter in self.map.meters]
            picture.derive(meters, self.map.sums, self.map.operations, self._wall())
            report.reasons = picture.reasons
            self._keep_what_changed()
            return Polled(picture.readings(), identity=self.identity)
        finally:
            report.requests = self._line.requests - before

    async def close(self) -> None:
        """Give the line back; it is closed if nobody else uses it."""
        if not self._closed:
            self._closed = True
            await self._give_back(self._line)

    # ---- what is asked --------------------------------------------------------------------------------------

    async def _recognise(self) -> None:
        """Find out which model it is, once for each start, and take up what is known of it."""
        if self._registers:
            return
        controller = self.map.controller
        if controller is not None and self._model is None:
            try:
                (number,) = await self._ask(controller.table, controller.address, 1)
            except DeviceError as error:
                failure = self._failure(error)
                if error.code not in ILLEGAL:
                    raise failure from None
                raise PollError(
                    Outcome.unsupported,
                    f"{self._whom()} does not say which model it is ({error})",
                    f"Check the map ({self.map.name}), or set `model` to one of {', '.join(self.map.models)}.",
                ) from None
            self._model = controller.models.get(number)
            if self._model is None:
                raise PollError(
                    Outcome.unsupported,
                    f"{self._whom()} is controller {number}, which the map {self.map.name} does not know",
                    f"Known are {', '.join(f'{n} ({m})' for n, m in controller.models.items())}: choose another map "
                    "(`hp-pipeline probe modbus` proposes one), or set `model`.",
                )
        if (self._device.get("map"), self._device.get("model")) == (self.map.fingerprint, self._model):
            self._knowledge = Knowledge.from_state(self._device)
        skipped = set(self.settings.skip)
        self._registers = [
            register
            for register in self.map.registers_of(self._model, self.settings.instance, self.settings.word_order)
            if register.name not in skipped and register.group not in skipped
        ]
        self._plans = {}

    def _plan(self, slow: bool) -> list[Block]:
        if slow not in self._plans:
            documented: dict[Table, set[int]] = {}
            for register in self._registers:
                documented.setdefault(register.table, set()).update(range(register.address, register.end))
            self._plans[slow] = plan(
                [register for register in self._registers if slow or register.cadence == "fast"],
                most_words=min(self._most, self.settings.most_words or self.map.most_words),
                most_gap=self.map.most_gap if self.settings.most_gap is None else self.settings.most_gap,
                holes=self._knowledge.holes,
                documented=documented,
                apart=self._apart,
            )
        return self._plans[slow]

    async def _read(self, block: Block, picture: Picture) -> None:
        """Read a block; if the device has nothing at some of its addresses, find out at which."""
        try:
            words = await self._ask(block.table, block.address, block.count)
        except DeviceError as error:
            if error.code not in ILLEGAL:
                raise self._failure(error) from None
            await self._narrow(block, error, picture)
            return
        self._knowledge.answers(block)
        self._whole.add((block.table, block.address, block.end))
        for register in block.registers:
            start = register.address - block.address
            picture.add(register, words[start : start + register.words])

    async def _narrow(self, block: Block, error: DeviceError, picture: Picture) -> None:
        """A refused block: its runs without gaps, and those that are refused again register by register.

        Addresses that the device answered before are not holes, whatever it says today. If it answered them in one
        request, they are refused for this poll only; if it never did, one request for them asks for too much. A
        function that the device does not know is not asked again for any address.
        """
        if self._knowledge.has_answered(block):
            if error.code == 1 or block.count == 1 or self._answered_at_once(block):
                raise self._failure(error)
            self._most = max(1, block.count // 2)
            self._plans = {}
            for part in plan(block.registers, most_words=self._most, most_gap=0):
                await self._read(part, picture)
            return
        self._plans = {}
        if error.code == 1:
            for table_block in self._plan_of_table(block.table):
                self._knowledge.refuses(block.table, range(table_block.address, table_block.end))
            raise self._failure(error)
        runs = block.runs()
        if len(runs) > 1:
            for run in runs:
                await self._read(run, picture)
            await self._try_gaps(block, runs)
        elif len(block.registers) > 1:
            for register in block.registers:
                await self._read(Block(block.table, register.address, register.words, (register,)), picture)
        else:
            self._knowledge.refuses(block.table, range(block.address, block.end))
            self.report.refused[_named(block)] = str(error)

    def _answered_at_once(self, block: Block) -> bool:
        """Whether the device, since the start, answered a request that asked for all of this and perhaps more."""
        return any(
            table == block.table and first <= block.address and block.end <= end for table, first, end in self._whole
        )

    async def _try_gaps(self, block: Block, runs: Sequence[Block]) -> None:
        """Find out, once, over which gaps of a refused block one may read: a request each, for the gap alone."""
        for before, after in pairwise(runs):
            gap = Block(block.table, before.end, after.address - before.end, ())
            try:
                await self._ask(gap.table, gap.address, gap.count)
            except DeviceError as error:
                if error.code not in ILLEGAL:
                    raise self._failure(error) from None
                self._knowledge.refuses(block.table, range(gap.address, gap.end))
            else:
                self._knowledge.answers(gap)

    def _plan_of_table(self, table: Table) -> list[Block]:
        return plan([register for register in self._registers if register.table == table], most_gap=0)

    # ---- one request ----------------------------------------------------------------------------------------

    async def _ask(self, table: Table, address: int, count: int) -> list[int]:
        """One request; a busy device is asked again, and nothing else is."""
        for pause in (*BUSY_PAUSES, None):
            try:
                return await self._line.read(self._unit, table, address, count, self._timeout)
            except WireError as error:
                raise self._wire_failure(error) from None
            except DeviceError as error:
                if error.code not in BUSY or pause is None:
                    raise
                await asyncio.sleep(pause)
        raise AssertionError("the last try returns or raises")

    def _failure(self, error: DeviceError) -> PollError:
        whom = self._whom()
        if error.code in BUSY:
            return PollError(Outcome.busy, f"{whom} is busy ({error})", retry=True)
        if error.code in GATEWAY:
            return PollError(
                Outcome.offline,
                f"{GATEWAY[error.code]} {whom} ({error})",
                f"Check the unit number ({self._unit}) and the wiring behind the gateway.",
            )
        if error.code in ILLEGAL:
            return PollError(
                Outcome.unsupported, f"{whom} refuses ({error})", f"Check whether the map {self.map.name} fits it."
            )
        return PollError(Outcome.error, f"{whom} reports {error}", f"Check the unit number ({self._unit}).")

    def _wire_failure(self, error: WireError) -> PollError:
        remedy = {
            Outcome.refused: "Check address and port, whether Modbus is switched on in the device, and whether "
            "another program holds its only connection.",
            Outcome.timeout: f"Check address, cable and unit number ({self._unit}).",
            Outcome.broken: "Check cable, serial settings and whether the connection is really Modbus "
            f"({self._line.address.transport}).",
        }[error.outcome]
        return PollError(error.outcome, str(error), remedy, retry=error.outcome is not Outcome.refused)

    def _nothing_left(self) -> PollError:
        return PollError(
            Outcome.unsupported,
            f"{self._whom()} has none of the registers of the map {self.map.name}",
            "Choose another map: `hp-pipeline probe modbus` proposes one.",
            wait=timedelta(minutes=10),
        )

    def _whom(self) -> str:
        return f"unit {self._unit} at {self._line.address}"

    def _line_is_ours(self) -> None:
        if self._closed:
            raise PollError(Outcome.error, f"{self._whom()} was closed")


def line_address(settings: ModbusSource, register_map: RegisterMap | None = None) -> LineAddress:
    """Where a source is reached, with the map's port if the settings name none."""
    pause = settings.pause.total_seconds()
    if settings.connection == "rtu":
        return LineAddress(
            "rtu",
            device=settings.serial_port or "",
            baud_rate=settings.baud_rate,
            parity=settings.parity,
            stop_bits=settings.stop_bits,
            data_bits=settings.data_bits,
            pause=pause,
        )
    port = settings.port if settings.port is not None else register_map.port if register_map else 502
    return LineAddress(settings.connection, host=settings.host or "", port=port, pause=pause)


def open_source(
    settings: ModbusSource,
    *,
    state: Mapping[str, Any] | None = None,
    keep: Callable[[str, Any], None] | None = None,
    directory: Path | None = None,
    lines: Lines = LINES,
    monotonic: Callable[[], float] = time.monotonic,
    wall: Callable[[], float] = time.time,
) -> RegisterSource:
    """A source that polls one unit. Nothing is connected before the first poll.

    Args:
        settings: which unit, where, and by which map.
        state: what `keep` kept of this source, by key (`device`, `meters`).
        keep: keeps a small thing (key, JSON) of this source; called when it changes.
        directory: that of the settings file, which the path of an own map is relative to; by default that of the
            settings file that the environment names.
        lines: the lines that are in use; sources at one place share one.
        monotonic, wall: the clocks, in seconds.

    Raises:
        PollError: the map cannot be used, or another source uses the same line with other settings.
    """
    register_map = map_of(settings, directory)
    try:
        line = lines.take(line_address(settings, register_map))
    except ValueError as error:
        raise PollError(
            Outcome.error,
            str(error),
            "Give all sources on one line the same connection, serial settings and pause.",
        ) from error
    return RegisterSource(
        settings, register_map, line, lines.give_back, state=state, keep=keep, monotonic=monotonic, wall=wall
    )


def map_of(settings: ModbusSource, directory: Path | None = None) -> RegisterMap:
    """The register map of a source, compared with what its settings say of it.

    Raises:
        PollError: it cannot be used.
    """
    if directory is None:
        named = settings_path()
        directory = named.parent if named else None
    try:
        register_map = load_map(settings.map, directory)
    except RegisterMapError as error:
        raise PollError(Outcome.error, str(error), "Correct `map`, or the file that it names.") from error
    known_names = [*register_map.group, *(register.name for register in register_map.registers)]
    for key, found, known in (
        ("model", () if settings.model is None else (settings.model,), register_map.models),
        ("skip", settings.skip, known_names),
    ):
        for word in found:
            if word not in known:
                what = f"{key}: found {word!r}, which the map {register_map.name} does not know"
                raise PollError(
                    Outcome.error, what, f"Allowed: {', '.join(known) or 'nothing, as the map knows no models'}."
                )
    if settings.instance > register_map.instances:
        raise PollError(
            Outcome.error,
            f"instance: found {settings.instance}, the map {register_map.name} has {register_map.instances}",
            "Correct `instance`.",
        )
    return register_map


def _part(state: Mapping[str, Any] | None, key: str) -> Mapping[str, Any]:
    """What was kept under a key, empty if it is nothing that can be understood."""
    found = state.get(key) if isinstance(state, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _named(block: Block) -> str:
    return f"{block.table} {block.address}+{block.count}"
