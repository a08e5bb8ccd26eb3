"""Every fault over a real socket: its own outcome, no false reading, and the next poll is as if nothing had been."""

from datetime import timedelta

import pytest

from hp_pipeline.simulation.devices.viessmann import FAULTS, OF_THE_DEVICE, ViessmannCloudServer
from hp_pipeline.simulation.devices.world import Clock
from hp_pipeline.sources.live import Outcome, Polled, PollError
from hp_pipeline.sources.viessmann import ViessmannCloud
from hp_pipeline_tests.sources.viessmann.conftest import MORNING, Account, values_of

OUTCOMES = {
    "stall": Outcome.timeout,
    "trickle": Outcome.timeout,
    "close": Outcome.broken,
    "drop": Outcome.broken,
    "wrong_length": Outcome.broken,
    "garbage": Outcome.broken,
    "empty": Outcome.broken,
    "html": Outcome.broken,
    "redirect": Outcome.broken,
    "no_data": Outcome.broken,
    "html_502": Outcome.busy,
    "busy": Outcome.busy,
    "error_500": Outcome.busy,
    "rate_limit": Outcome.limited,
    "rate_limit_bare": Outcome.limited,
    "forbidden": Outcome.denied,
    "not_paid": Outcome.unsupported,
    "not_found": Outcome.unsupported,
    "device_offline": Outcome.offline,
    "gateway_offline": Outcome.offline,
}
HARMLESS = ("fragment", "expired", "unauthorised")
"""The poll goes well all the same."""


def be_impatient(account: Account, fault: str) -> None:
    """Give up early on what would never end."""
    if fault in ("stall", "trickle"):
        account.settings = account.settings.model_copy(update={"timeout": timedelta(seconds=1.5)})


@pytest.mark.parametrize("fault", OUTCOMES)
def test_a_fault_has_its_outcome_and_passes(fault: str, account: Account, cloud: ViessmannCloudServer) -> None:
    account.poll()
    account.places()
    patient = account.settings
    be_impatient(account, fault)
    cloud.inject(fault)
    error = account.fail(OUTCOMES[fault])
    assert [injected.fault for injected in cloud.injected] == [fault]
    assert account.places() == ["features"], "a fault is not answered by asking again at once"
    assert error.what
    account.settings = patient
    cloud.clock.move(timedelta(hours=4))
    assert len(account.poll().readings) > 50


@pytest.mark.parametrize("fault", HARMLESS)
def test_the_poll_goes_well_all_the_same(fault: str, account: Account, cloud: ViessmannCloudServer) -> None:
    account.poll()
    account.places()
    cloud.inject(fault)
    assert len(account.poll().readings) > 50
    assert account.places() == (["features"] if fault == "fragment" else ["features", "token", "features"])


def test_every_fault_is_tried() -> None:
    assert {*OUTCOMES, *HARMLESS, *OF_THE_DEVICE} == set(FAULTS)


def test_a_cloud_that_is_away_refuses(account: Account, cloud: ViessmannCloudServer) -> None:
    account.poll()
    cloud.stop()
    assert "no connection to 127.0.0.1" in account.fail(Outcome.refused).what
    cloud.listen()
    account.poll()


@pytest.mark.parametrize("place", ["authorize", "token", "devices"])
@pytest.mark.parametrize(
    "fault", ["garbage", "html", "html_502", "close", "drop", "stall", "rate_limit", "busy", "empty"]
)
def test_faults_of_the_login_and_of_the_list(
    place: str, fault: str, account: Account, cloud: ViessmannCloudServer
) -> None:
    patient = account.settings
    be_impatient(account, fault)
    cloud.inject(fault, place=place)  # type: ignore[arg-type]
    lets_nobody_in = place == "authorize" and fault in ("garbage", "html", "empty")
    error = account.fail(Outcome.denied if lets_nobody_in else OUTCOMES[fault])
    assert len(account.places()) <= 3
    account.settings = patient
    cloud.clock.move(timedelta(hours=6))
    assert len(account.poll().readings) > 50
    assert error.wait is not None or place == "devices" or fault == "stall"


def told(account: Account, cloud: ViessmannCloudServer, fault: str) -> tuple[dict[str, float | str], Polled]:
    async def later(source: ViessmannCloud) -> Polled:
        cloud.clock.move(timedelta(minutes=5))
        cloud.inject(fault)
        return await source.poll()

    first, second = account.run(ViessmannCloud.poll, later)
    if isinstance(second, PollError):
        raise second
    return values_of(first), second


def test_sensors_that_are_not_there_tell_nothing(account: Account, cloud: ViessmannCloudServer) -> None:
    _, second = told(account, cloud, "sentinel")
    values = values_of(second)
    assert values["heating.sensors.temperature.outside.status"] == "notConnected"
    assert not [point for point in values if ".sensors." in point and point.endswith(".value")]


def test_duplicates_are_one_reading_each(account: Account, cloud: ViessmannCloudServer) -> None:
    _, second = told(account, cloud, "duplicate")
    points = [reading.point for reading in second.readings]
    assert len(points) == len(set(points))


def test_an_older_answer_has_older_times(account: Account, cloud: ViessmannCloudServer) -> None:
    first, second = told(account, cloud, "out_of_order")
    assert values_of(second) == first
    assert all(reading.time is None or reading.time <= MORNING for reading in second.readings)


def test_times_in_the_future_are_not_believed(account: Account, cloud: ViessmannCloudServer, clock: Clock) -> None:
    _, second = told(account, cloud, "clock_offset")
    assert all(reading.time is None or reading.time <= clock.now() for reading in second.readings)


def test_values_of_odd_kinds_are_passed_over(account: Account, cloud: ViessmannCloudServer) -> None:
    cloud.inject("odd_values", times=1)
    error = account.fail(Outcome.broken)
    assert "not JSON" in error.what, "an infinite number is no JSON"
    assert len(account.poll().readings) > 50


def test_counters_are_told_as_the_device_says(account: Account, cloud: ViessmannCloudServer) -> None:
    first, second = told(account, cloud, "counter_reset")
    assert first["heating.compressors.0.statistics.hours"] > 0  # type: ignore[operator]
    assert values_of(second)["heating.compressors.0.statistics.hours"] == 0.0


def test_a_torn_pair_keeps_the_times_apart(account: Account, cloud: ViessmannCloudServer) -> None:
    """Energies of hot water that are older than those of heating carry the time at which they were read."""
    _, second = told(account, cloud, "torn_pair")
    times = {reading.point: reading.time for reading in second.readings}
    heating, dhw = (times[f"heating.power.consumption.{part}.year"] for part in ("heating", "dhw"))
    assert heating is not None and dhw is not None
    assert heating - dhw == timedelta(minutes=5)
