"""Every fault of every protocol, through the collector: its outcome, the others on time, no false reading stored.

`TABLE` is the whole table, which docs/faults.md shows: a fault that this module makes the devices do (`Live`), one
that another test is about (`Elsewhere`), or one that the protocol does not know (None). The devices stand still, so
whatever is stored and differs from what they said first would be a false reading.
"""

from __future__ import annotations

import ast
import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hp_pipeline.landing.collector import Collector, LiveSource, Patience
from hp_pipeline.landing.recorder import Recorder
from hp_pipeline.landing.store import Landing
from hp_pipeline.settings.sources import LuxtronikSource, ShellySource
from hp_pipeline.simulation.devices.luxtronik import LuxtronikServer
from hp_pipeline.simulation.devices.modbus import Fault, SimulatedModbus, StiebelIsg
from hp_pipeline.simulation.devices.shelly import ShellyServer
from hp_pipeline.simulation.devices.viessmann import ViessmannCloudServer
from hp_pipeline.simulation.devices.world import Clock, House
from hp_pipeline.sources import luxtronik, shelly
from hp_pipeline_tests.landing.tiny import TinyDevice, TinySource
from hp_pipeline_tests.simulation.devices.conftest import START, house, winter_run
from hp_pipeline_tests.sources.modbus.conftest import reader_of
from hp_pipeline_tests.sources.viessmann.conftest import Account

__all__ = ["house", "winter_run"]

TESTS = Path(__file__).parents[1]
PAGE = TESTS.parent / "docs" / "faults.md"
NOON = START + timedelta(hours=36)
PROTOCOLS = ("Luxtronik", "Modbus", "Viessmann", "Shelly", "MQTT")


@dataclass(frozen=True)
class Live:
    """A fault that a device makes here: its name there, its value, and the outcome of the polls meanwhile."""

    outcome: str
    fault: str
    value: float = 0.0


@dataclass(frozen=True)
class Elsewhere:
    """What becomes of a fault, and the test that shows it (below `hp_pipeline_tests`)."""

    outcome: str
    test: str


LUX, SHELLY, MODBUS, VIESSMANN, MQTT = (
    f"sources/{place}"
    for place in (
        "luxtronik/test_polling.py",
        "shelly/test_polling.py",
        "modbus/test_source.py",
        "viessmann/test_faults.py",
        "mqtt/test_failures.py",
    )
)
STREET = "simulation/devices/test_mqtt.py"
MESSAGES = "sources/mqtt/test_messages.py"
METERS = "sources/modbus/test_meters.py"

TABLE: dict[str, tuple[Live | Elsewhere | None, ...]] = {
    "stall": (
        Live("timeout", "stall"),
        Live("timeout", "stall"),
        Live("timeout", "stall"),
        Live("timeout", "stall"),
        Elsewhere("timeout", f"{MQTT}::test_a_broker_that_answers_nothing_any_more_times_out"),
    ),
    "fragment": (
        Live("ok", "fragment", 7),
        Live("ok", "fragment"),
        Live("ok", "fragment"),
        Live("ok", "fragment", 11),
        Elsewhere("ok", f"{MQTT}::test_tls_checks_who_the_broker_is"),
    ),
    "close mid-answer": (
        Live("broken", "close", 3004),
        Live("broken", "close mid-answer"),
        Live("broken", "close"),
        Live("broken", "close"),
        Elsewhere(
            "refused, what arrived is kept",
            f"{MQTT}::test_a_broker_that_dies_is_refused_and_what_arrived_is_handed_over",
        ),
    ),
    "refuse": (
        Live("refused", "refuse"),
        Live("refused", "refuse"),
        Live("refused", "refuse"),
        Live("refused", "refuse"),
        Elsewhere("refused", f"{STREET}::test_noise_and_a_cut_link"),
    ),
    "busy": (
        Live("busy", "busy", 1),
        Live("busy", "busy"),
        Live("busy", "busy"),
        Live("busy", "status", 503),
        Elsewhere("busy", f"{MQTT}::test_somebody_else_than_a_broker"),
    ),
    "garbage": (
        Live("broken", "garbage", 3004),
        Live("broken", "garbage"),
        Live("broken", "garbage"),
        Live("broken", "garbage"),
        Elsewhere("rejected, counted", f"{STREET}::test_noise_and_a_cut_link"),
    ),
    "wrong length": (
        Live("broken", "long", 3004),
        Live("broken", "wrong length"),
        Live("broken", "wrong_length"),
        Live("broken", "wrong_length"),
        Elsewhere("broken", f"{MQTT}::test_somebody_else_than_a_broker"),
    ),
    "sentinel": (
        Elsewhere(
            "kept raw, decoded to nothing", f"{LUX}::test_a_clock_that_is_wrong_is_told_and_a_sentinel_is_kept_raw"
        ),
        Live("ok, no reading", "sentinel"),
        Elsewhere("no reading", f"{VIESSMANN}::test_sensors_that_are_not_there_tell_nothing"),
        Elsewhere("broken", f"{SHELLY}::test_a_fault_has_its_outcome_and_brings_no_reading"),
        Elsewhere("no reading", f"{MESSAGES}::test_what_is_no_reading"),
    ),
    "counter reset": (
        Elsewhere("kept as told", f"{LUX}::test_counters_that_are_reset_or_fall_back_are_kept_as_they_are"),
        Elsewhere("kept as told", f"{METERS}::test_a_controller_that_was_replaced_is_told_as_it_is_after_a_while"),
        Elsewhere("kept as told", f"{VIESSMANN}::test_counters_are_told_as_the_device_says"),
        Elsewhere("kept, with an event", f"{SHELLY}::test_reset_rollback_swap_and_profile_are_told_apart"),
        Elsewhere("kept as told", f"{MESSAGES}::test_numbers_and_words"),
    ),
    "torn pair": (
        None,
        Elsewhere("no reading", "sources/modbus/test_decode.py::test_one_word_that_is_not_available_voids_a_pair"),
        Elsewhere("each with its own time", f"{VIESSMANN}::test_a_torn_pair_keeps_the_times_apart"),
        Elsewhere("broken", f"{SHELLY}::test_pages_that_cannot_be_right_end_the_reading"),
        Elsewhere("waits for its time", f"{MESSAGES}::test_a_message_waits_for_its_time_beside_but_not_for_long"),
    ),
    "clock offset": (
        Elsewhere("drift kept", f"{LUX}::test_a_clock_that_is_wrong_is_told_and_a_sentinel_is_kept_raw"),
        None,
        Elsewhere("not believed", f"{VIESSMANN}::test_times_in_the_future_are_not_believed"),
        Elsewhere("drift kept", f"{SHELLY}::test_a_clock_that_is_wrong_or_not_set"),
        Elsewhere("drift kept, not believed", f"{STREET}::test_every_fault_is_logged_and_stores_nothing_false"),
    ),
    "duplicate": (
        Elsewhere("once", f"{LUX}::test_events_are_told_once_with_their_own_time"),
        Elsewhere("passed over", f"{MODBUS}::test_an_answer_that_comes_late_is_not_taken_for_the_next_one"),
        Elsewhere("once", f"{VIESSMANN}::test_duplicates_are_one_reading_each"),
        Elsewhere("once", f"{SHELLY}::test_odd_pages_bring_the_same_records"),
        Elsewhere("once", f"{STREET}::test_every_fault_is_logged_and_stores_nothing_false"),
    ),
    "out of order": (
        None,
        Live("ok", "stale"),
        Elsewhere("own times", f"{VIESSMANN}::test_an_older_answer_has_older_times"),
        Elsewhere("sorted", f"{SHELLY}::test_odd_pages_bring_the_same_records"),
        Elsewhere("own times", f"{STREET}::test_every_fault_is_logged_and_stores_nothing_false"),
    ),
    "401": (
        None,
        None,
        Live("ok", "unauthorised"),
        Live("denied", "status", 401),
        Elsewhere("denied", f"{MQTT}::test_a_wrong_password_is_denied_and_not_shown"),
    ),
    "429": (
        None,
        None,
        Live("limited", "rate_limit"),
        Live("limited", "status", 429),
        Elsewhere("limited", f"{MQTT}::test_somebody_else_than_a_broker"),
    ),
}
"""Fault → what becomes of it by protocol, in the order of `PROTOCOLS`."""


@dataclass
class Device:
    """A device that can be made to do wrong.

    Attributes:
        source: as the collector takes it.
        inject: make a fault until `clear`.
        made: how often a fault was made so far.
    """

    source: LiveSource
    inject: Callable[[Live], Awaitable[None]]
    clear: Callable[[], Awaitable[None]]
    made: Callable[[], int]


def live(id_: str, opened: Callable[[], Any], every: float, timeout: float) -> LiveSource:
    span = timedelta(seconds=every), timedelta(seconds=timeout)
    return LiveSource(id_, id_, *span, lambda: None, opened, settings=id_)


def served(id_: str, server: LuxtronikServer | ShellyServer, opened: Callable[[], Any]) -> Device:
    """A Luxtronik controller or a Shelly meter."""

    async def inject(fault: Live) -> None:
        if fault.fault == "refuse":
            await server.refuse_connections()
        else:
            server.faults.inject(fault.fault, times=None, value=fault.value)

    async def clear() -> None:
        server.faults.clear()
        await server.stop()
        await server.start()

    return Device(live(id_, opened, 0.1, 0.8), inject, clear, lambda: len(server.faults.injected))


def modbus(server: SimulatedModbus) -> Device:
    async def inject(fault: Live) -> None:
        if fault.fault == "refuse":
            await server.refuse()
        elif fault.fault == "stale":
            server.inject(Fault.STALE)
        else:
            server.always(Fault(fault.fault))

    async def clear() -> None:
        server.always(None)
        await server.refuse()
        await server.accept()

    source = live("Modbus", lambda: reader_of(server, answer_timeout="300ms"), 0.1, 1.2)
    return Device(source, inject, clear, lambda: len(server.injected))


def viessmann(cloud: ViessmannCloudServer, account: Account) -> Device:
    async def inject(fault: Live) -> None:
        if fault.fault == "refuse":
            await asyncio.to_thread(cloud.stop)
        else:
            cloud.inject(fault.fault, times=1 if fault.fault == "unauthorised" else None)

    async def clear() -> None:
        cloud.heal()
        await asyncio.to_thread(cloud.stop)
        await asyncio.to_thread(cloud.listen)

    return Device(live("Viessmann", account.open, 0.2, 3.0), inject, clear, lambda: len(cloud.injected))


async def until(condition: Callable[[], object], what: object, within: float = 15.0) -> None:
    deadline = asyncio.get_running_loop().time() + within
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, what
        await asyncio.sleep(0.01)


async def suffer(device: Device, collector: Collector, faults: list[Live]) -> None:
    """One fault after the other; each passes before the next."""
    life = collector.tasks[device.source.id].life

    def recovers(good: int) -> bool:
        life.pause_until = None  # what has to wait for its own good need not wait here
        return life.outcomes["ok"] > good

    await until(lambda: life.outcomes["ok"] > 0, "the first poll")
    for fault in faults:
        word = fault.outcome.partition(",")[0]
        before, made = life.outcomes[word], device.made()
        await device.inject(fault)
        await until(lambda word=word, before=before: life.outcomes[word] > before + (word == "ok"), (fault, life))
        assert fault.fault == "refuse" or device.made() > made, fault
        await device.clear()
        if fault.outcome == "limited" and device.source.id == "Viessmann":
            return  # it keeps quiet for as long as the cloud has said
        good = life.outcomes["ok"]
        await until(lambda good=good: recovers(good + 1), (fault, life))


@pytest.fixture
def account(tmp_path: Path, house: House) -> Any:
    with ViessmannCloudServer(house, Clock(NOON, 0.0), calls_per_10min=100_000, calls_per_day=100_000) as cloud:
        made = Account(
            tmp_path / "cloud", cloud, calls_per_10min=100_000, calls_per_day=100_000, timeout="1s", every="1min"
        )
        made.settings = made.settings.model_copy(update={"timeout": timedelta(seconds=5)})
        made.poll()  # PyViCare is imported, and the login is made
        made.settings = made.settings.model_copy(update={"timeout": timedelta(seconds=0.7)})
        yield made
        made.landing.close()


def test_every_fault_has_its_outcome_the_others_are_on_time_and_nothing_false_is_stored(
    tmp_path: Path, house: House, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hp_pipeline.sources.modbus.source.BUSY_PAUSES", (0.01, 0.01, 0.01))
    healthy = TinyDevice()
    scripts = {
        protocol: [cells[index] for cells in TABLE.values() if isinstance(cells[index], Live)]
        for index, protocol in enumerate(PROTOCOLS)
    }
    patience = Patience(retry_first=0.05, retry_most=0.1, failures=1000, denied=0.1)

    async def run() -> Collector:
        controller = LuxtronikServer(house, Clock(NOON, 0.0))
        meter = ShellyServer(house, Clock(NOON, 0.0))
        unit = StiebelIsg(house, Clock(NOON, 0.0)).unit()
        async with controller, meter, SimulatedModbus({1: unit}) as isg:
            short = {"host": "127.0.0.1", "timeout": timedelta(seconds=0.3)}
            pump = LuxtronikSource.model_construct(id="Luxtronik", port=controller.port, **short)
            shelly_settings = ShellySource.model_construct(id="Shelly", port=meter.port, password=None, **short)
            devices = [
                served("Luxtronik", controller, lambda: luxtronik.source.open_source(pump)),
                served("Shelly", meter, lambda: shelly.open_source(shelly_settings)),
                modbus(isg),
                viessmann(account.cloud, account),
            ]
            with Landing(tmp_path) as landing:
                recorder = Recorder(landing)
                writing = asyncio.create_task(recorder.run())
                collector = Collector(recorder, patience=patience)
                await collector.use(
                    [live("healthy", lambda: TinySource(healthy.port), 0.05, 1.0), *(one.source for one in devices)]
                )
                tasks = dict(collector.tasks)
                await asyncio.gather(*(suffer(one, collector, scripts[one.source.id]) for one in devices))  # type: ignore[arg-type]
                await collector.stop()
                assert await recorder.flush(2)
                writing.cancel()
                recorder.close()
            collector.tasks = tasks
            return collector

    try:
        collector = asyncio.run(run())
    finally:
        healthy.close()

    well = collector.tasks["healthy"].life
    assert set(well.outcomes) == {"ok"}
    assert np.quantile(well.late, 0.99) < 0.5  # the devices' own servers run in the same process
    with Landing(tmp_path, read_only=True) as landing:
        for protocol in PROTOCOLS[:4]:
            wanted = {fault.outcome.partition(",")[0] for fault in scripts[protocol]}  # type: ignore[union-attr]
            polls = list(landing.polls(protocol))
            assert {poll.outcome for poll in polls} == {"ok", *wanted}, protocol
            assert all(poll.points == 0 for poll in polls if poll.outcome != "ok")
            true: dict[Any, Any] = {}
            ever = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
            for _, readings in landing.series(protocol, *ever):
                for point, time, value in readings:
                    if point.startswith("@"):  # the collector's own, of a clock that stands still
                        continue
                    # Events of one code are many, each with its own time.
                    key = (point, time) if point.startswith("event/") else point
                    assert true.setdefault(key, value) == value, (protocol, point)
            assert len(true) > 20


def test_every_cell_of_the_table_has_a_test() -> None:
    tested = {cell.test for cells in TABLE.values() for cell in cells if isinstance(cell, Elsewhere)}
    for place in tested:
        path, _, name = place.partition("::")
        module = ast.parse((TESTS / path).read_text(encoding="utf-8"))
        names = {one.name for one in module.body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)}
        assert name in names, place


def test_the_page_shows_the_table() -> None:
    rows = [f"| fault | {' | '.join(PROTOCOLS)} |", f"| --- |{' --- |' * len(PROTOCOLS)}"]
    rows += [
        f"| {fault} | {' | '.join(one.outcome if one else '—' for one in cells)} |" for fault, cells in TABLE.items()
    ]
    assert "\n".join(rows) in PAGE.read_text(encoding="utf-8")
