"""One poll is one counted request, brings every device, and tells when each value was so."""

import asyncio
import itertools
import json
import subprocess
import sys
import threading
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from hp_pipeline.simulation.devices.viessmann import SERIAL, ViessmannCloudServer
from hp_pipeline.simulation.devices.world import Clock, House
from hp_pipeline.sources.live import Outcome, Polled, PolledSource, RemembersHistory
from hp_pipeline.sources.viessmann import ViessmannCloud
from hp_pipeline.sources.viessmann.source import DOCUMENT
from hp_pipeline.vocabulary.profiles import load_profile
from hp_pipeline_tests.sources.viessmann.conftest import MORNING, Account, values_of


def test_the_first_poll_logs_in_and_every_later_one_is_one_request(account: Account) -> None:
    account.run(ViessmannCloud.poll, ViessmannCloud.poll, ViessmannCloud.poll)
    assert account.places() == ["authorize", "token", "devices", "features", "features", "features"]
    assert account.counted() == 6
    account.poll()
    assert account.places() == ["features"], "a restart logs in anew, or asks for the devices again"


def test_values_are_those_of_the_house(account: Account, house: House) -> None:
    values = values_of(account.poll())
    state = house.at(MORNING)
    assert values["heating.sensors.temperature.outside.value"] == pytest.approx(
        state.number("outdoor_temperature"), abs=0.06
    )
    assert values["heating.compressors.0.active"] == ("true" if state.flag("compressor_on") else "false")
    assert values["heating.circuits.0.operating.programs.normalHeating.temperature"] == pytest.approx(
        state.number("room_setpoint"), abs=0.06
    )
    assert "heating.bufferCylinder.sensors.temperature.main.value" not in values
    assert values["heating.bufferCylinder.sensors.temperature.main.status"] == "notConnected"
    assert json.loads(str(values["heating.dhw.schedule.entries"]))["mon"][0]["start"] == "05:00"


def test_every_device_of_the_account_is_read(account: Account) -> None:
    values = values_of(account.poll())
    assert "RoomControl-1/device.sensors.temperature.value" in values
    assert "gateway/tcu.wifi.strength" in values


def test_each_device_can_be_asked_alone(tmp_path: Path, cloud: ViessmannCloudServer, account: Account) -> None:
    whole = values_of(account.poll())
    account.places()
    alone = Account(tmp_path / "alone", cloud, whole_gateway=False)
    assert values_of(alone.poll()) == whole
    assert alone.places() == ["authorize", "token", "devices", "features", "features", "features"]
    alone.landing.close()


def test_the_answer_is_kept_as_it_came(account: Account, cloud: ViessmannCloudServer) -> None:
    polled = account.poll()
    (document,) = polled.documents
    assert document.kind == DOCUMENT
    features = json.loads(document.content)["data"]
    assert len(features) > 30 and {feature["gatewayId"] for feature in features} == {SERIAL}


def test_changes_have_the_time_that_the_device_says(account: Account, house: House, clock: Clock) -> None:
    """A compressor that starts or stops between two polls is told with the second in which it did."""
    told: list[tuple[datetime, str]] = []

    async def polls(source: ViessmannCloud) -> None:
        for _ in range(60):
            polled = await source.poll()
            told.extend(
                (reading.time, str(reading.text))
                for reading in polled.readings
                if reading.point == "heating.compressors.0.active" and reading.time is not None
            )
            clock.move(timedelta(minutes=5))

    account.run(polls)
    steps = [MORNING + timedelta(seconds=second) for second in range(0, 300 * 60, 30)]
    runs = {step: house.at(step).flag("compressor_on") for step in steps}
    edges = []
    for before, after in itertools.pairwise(steps[::10]):
        if runs[before] != runs[after]:  # what goes to and fro between two polls, nobody tells
            edge = next(step for step in reversed(steps) if step <= after and runs[step] != runs[after])
            edges.append((edge + timedelta(seconds=30), "true" if runs[after] else "false"))
    assert len(edges) >= 2
    for moment, word in edges:
        assert any(abs((time - moment).total_seconds()) <= 1 and word == said for time, said in told), (moment, word)


def test_what_still_holds_has_the_time_of_the_poll(account: Account, clock: Clock) -> None:
    async def later(source: ViessmannCloud) -> Polled:
        clock.move(timedelta(seconds=20))
        return await source.poll()

    first, second = account.run(ViessmannCloud.poll, later)
    point = "heating.circuits.0.operating.programs.active.value"
    assert next(reading for reading in first.readings if reading.point == point).time is not None
    assert next(reading for reading in second.readings if reading.point == point).time is None
    assert first.identity == second.identity


def test_a_device_that_is_silent_is_not_taken_to_hold_what_it_said(
    account: Account, cloud: ViessmannCloudServer, clock: Clock
) -> None:
    """The cloud goes on answering with what it heard last."""

    async def frozen(source: ViessmannCloud) -> Polled:
        clock.move(timedelta(minutes=50))
        return await source.poll()

    cloud_steps = [ViessmannCloud.poll, frozen, frozen, frozen]
    cloud.inject("frozen", times=None)
    results = account.run(*cloud_steps)
    late = results[-1]
    assert all(reading.time is not None and reading.time <= MORNING for reading in late.readings)


def test_the_classic_device_has_only_circuit_1(tmp_path: Path, house: House, clock: Clock) -> None:
    with ViessmannCloudServer(house, clock, make="classic") as cloud:
        account = Account(tmp_path, cloud)
        values = values_of(account.poll())
        account.landing.close()
    assert values["heating.circuits.enabled"] == '["1"]'
    assert values["heating.compressors.0.power.value"] == 12_000.0, "the device says 12 kilowatt"
    assert "heating.circuits.1.operating.programs.normal.temperature" in values
    assert not any(".circuits.0." in point for point in values)


@pytest.mark.parametrize(("make", "profile"), [("e3", "viessmann"), ("classic", "viessmann_classic")])
def test_the_profile_finds_what_the_device_tells(
    make: str, profile: str, tmp_path: Path, house: House, clock: Clock
) -> None:
    with ViessmannCloudServer(house, clock, make=make) as cloud:  # type: ignore[arg-type]
        account = Account(tmp_path, cloud)
        values = values_of(account.poll())
        account.landing.close()
    mappings = load_profile(profile).mappings
    found = {
        name: [point for selector in mapping.selectors for point in values if selector.matches(point)]
        for name, mapping in mappings.items()
    }
    needed = {"operating_mode", "compressor_on", "defrost", "flow_temperature", "return_temperature", "dhw_setpoint"}
    needed |= {"outdoor_temperature", "room_setpoint", "flow_setpoint", "compressor_starts_total", "fault"}
    needed |= {"three_way_valve", "thermal_power"} if make == "classic" else {"flow_rate", "electrical_energy_total"}
    assert {name for name, points in found.items() if len(points) == 1} >= needed
    assert not [name for name, points in found.items() if len(points) > 1]
    for name, mapping in mappings.items():
        if mapping.signal.kind == "state" and found[name]:
            assert mapping.state_of(str(values[found[name][0]])) is not None, name


def test_health_says_what_is_left(account: Account) -> None:
    async def health(source: ViessmannCloud) -> object:
        return source.health()

    _, told = account.run(ViessmannCloud.poll, health)
    assert [(budget["used"], budget["left"]) for budget in told["budget"]] == [(4, 1450 - 100 - 4), (4, 116)]
    assert told["login"] == "ok" and told["blocked_until"] is None and told["faults"] == {}
    assert f"{SERIAL}/0 E3_Vitocal" in told["devices"]


def test_an_unknown_gateway_is_told_with_those_that_there_are(tmp_path: Path, cloud: ViessmannCloudServer) -> None:
    account = Account(tmp_path, cloud, gateway="123")
    error = account.fail(Outcome.unsupported)
    assert "no gateway 123" in error.what and SERIAL in error.remedy
    account.landing.close()


def test_capabilities_are_those_of_the_devices(account: Account) -> None:
    async def capable(source: ViessmannCloud) -> object:
        return source.capabilities()

    _, found = account.run(ViessmannCloud.poll, capable)
    heat_pump = found[f"{SERIAL}/0"]
    assert (heat_pump.kind, heat_pump.circuits, heat_pump.compressors) == ("HeatPump", ("0",), ("0",))
    assert heat_pump.programs == {"0": ("comfortHeating", "normalHeating", "reducedHeating")}
    assert heat_pump.values["compressors.0.getSpeed"] >= 0
    assert found[f"{SERIAL}/RoomControl-1"].kind == "RoomSensor"
    assert account.places()[3:] == ["features"], "capabilities must cost no request"


def test_a_poll_that_is_cancelled_leaves_nothing_behind(account: Account, cloud: ViessmannCloudServer) -> None:
    account.poll()
    cloud.inject("stall")

    async def cancelled() -> float:
        source = account.open()
        loop = asyncio.get_running_loop()
        task = asyncio.create_task(source.poll())
        while not cloud.injected:
            await asyncio.sleep(0.01)
        task.cancel()
        began = loop.time()
        with pytest.raises(asyncio.CancelledError):
            await task
        took = loop.time() - began
        await source.close()
        await source.close()
        assert not [other for other in asyncio.all_tasks() if other is not asyncio.current_task()]
        return took

    assert asyncio.run(cancelled()) < 1
    alive = [thread.name for thread in threading.enumerate() if thread.name.startswith("viessmann-")]
    assert not alive
    account.poll()


def test_the_loop_is_not_blocked(account: Account, cloud: ViessmannCloudServer) -> None:
    account.poll()
    cloud.inject("fragment")

    async def beside() -> float:
        source = account.open()
        worst = 0.0
        task = asyncio.create_task(source.poll())
        loop = asyncio.get_running_loop()
        while not task.done():
            before = loop.time()
            await asyncio.sleep(0.005)
            worst = max(worst, loop.time() - before)
        await task
        await source.close()
        return worst

    assert asyncio.run(beside()) < 0.3


def test_it_is_a_polled_source_that_remembers(account: Account) -> None:
    source = account.open()
    assert isinstance(source, PolledSource) and isinstance(source, RemembersHistory)
    assert "secret" not in repr(source)


def test_nothing_heavy_is_imported_before_the_first_poll() -> None:
    code = (
        "import sys, hp_pipeline.sources.viessmann; "
        "print({'PyViCare', 'requests', 'authlib', 'httpx', 'polars', 'dagster', 'duckdb'} & set(sys.modules))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "set()"
