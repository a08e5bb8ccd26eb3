"""Listening to a real broker: what comes, what waits, what is retained, who is away."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from hp_pipeline.sources.live import ListeningSource, Outcome, Polled
from hp_pipeline_tests.sources.mqtt.listening import Listening, asynchronous, failure, listening, source, texts
from hp_pipeline_tests.sources.mqtt.mosquitto import Mosquitto


@asynchronous
async def test_any_topic_to_any_point(broker: Mosquitto) -> None:
    settings = source(
        broker.port,
        {"topic": "house/+/power", "point": "{1}_power"},
        {"topic": "tele/#", "pattern": r"tele/(?P<device>[a-z]+)_[0-9]+/SENSOR", "point": "{device}"},
        "plain/#",
    )
    async with listening(settings) as running:
        assert isinstance(running.listener, ListeningSource)
        broker.publish(
            ("house/kitchen/power", "12.5"),
            ("tele/stove_7/SENSOR", '{"ENERGY": {"Power": 3, "on": true}, "state": "ON"}'),
            ("tele/7/SENSOR", "1"),
            ("plain/a/b", "ON"),
            ("elsewhere", "1"),
        )
        await running.values(
            ("kitchen_power", 12.5),
            ("stove#ENERGY.Power", 3.0),
            ("stove#ENERGY.on", "true"),
            ("stove#state", "ON"),
            ("plain/a/b", "ON"),
        )


@asynchronous
async def test_a_reading_is_of_its_arrival_unless_the_message_says_a_time(broker: Mosquitto) -> None:
    settings = source(broker.port, {"topic": "json", "time": "at"}, "plain")
    at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    async with listening(settings) as running:
        before = datetime.now(UTC)
        broker.publish(("json", f'{{"at": {at.timestamp()}, "x": 1}}'), ("plain", "1"), ("plain", "2"))
        await running.until(lambda: len(running.said) == 3)
        times = {(reading.point, reading.value): reading.time for reading in running.readings}
    assert times["json#x", 1.0] == at
    assert times["plain", 2.0] is None  # the time of the handing over
    first = times["plain", 1.0]
    assert first is not None and before <= first <= datetime.now(UTC)


@pytest.mark.parametrize("version", ["5", "3.1.1"])
@asynchronous
async def test_what_is_sent_while_away_arrives(broker: Mosquitto, version: str) -> None:
    settings = source(broker.port, "stove/#", version=version)
    async with listening(settings) as running:
        broker.publish(("stove/power", "0"))
        await running.values(("stove/power", 0.0))
    broker.publish(*texts(range(1, 41), "stove/power"))
    broker.stop()
    broker.start()  # its restart loses no session
    async with listening(settings) as running:
        await running.until(lambda: len(running.said) >= 40)
        assert [reading.value for reading in running.readings] == [float(number) for number in range(1, 41)]
        times = [reading.time for reading in running.readings if reading.time is not None]
        assert sorted(set(times)) == times


@asynchronous
async def test_a_retained_message_holds_from_now_or_is_left_out(broker: Mosquitto) -> None:
    broker.publish(("pump", "ON"), ("old", "1"), retain=True)
    settings = source(broker.port, "pump", {"topic": "old", "retained": False})
    async with listening(settings) as running:
        await running.values(("pump", "ON"))
        assert running.readings[0].time is None
        broker.publish(("old", "2"))
        await running.values(("pump", "ON"), ("old", 2.0))


@asynchronous
async def test_a_device_that_is_away_is_marked_and_what_the_broker_kept_of_it_is_not_taken(broker: Mosquitto) -> None:
    settings = source(
        broker.port,
        "pump/#",
        "other",
        availability=[{"topic": "pump/LWT", "online": "Online", "offline": "Offline"}],
    )
    with broker.client(will=("pump/LWT", "Offline")) as device:
        device.publish("pump/LWT", "Online", qos=1, retain=True).wait_for_publish(5)
        device.publish("pump/temperature", "41", qos=1, retain=True).wait_for_publish(5)
        async with listening(settings) as running:
            await running.until(lambda: set(running.said) == {("pump/LWT", "online"), ("pump/temperature", 41.0)})
            assert running.listener.reader.available == {"pump/LWT": True}
            device.socket().close()  # the cable is pulled: nobody says good-bye
            await running.until(lambda: ("pump/LWT", "offline") in running.said)
            assert running.listener.reader.available == {"pump/LWT": False}
            device.loop_stop()
    broker.publish(("other", "1"), retain=True)
    async with listening(settings) as running:
        await running.until(lambda: set(running.said) == {("pump/LWT", "offline"), ("other", 1.0)})
        assert running.listener.reader.rejected == {"kept by the broker for a device that is away": 1}


@asynchronous
async def test_statestream_with_the_time_in_the_topic_beside(broker: Mosquitto) -> None:
    settings = source(
        broker.port, {"topic": "homeassistant/+/+/state", "point": "{1}.{2}", "time_topic": "last_updated"}
    )
    base = "homeassistant/sensor/flow"
    first, second = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, 0, 0, 30, 250_000, tzinfo=UTC)
    broker.publish((f"{base}/state", "35.5"), (f"{base}/last_updated", first.isoformat()), retain=True)
    async with listening(settings) as running:
        await running.values(("sensor.flow", 35.5))
        assert running.readings[0].time == first
        broker.publish(
            (f"{base}/state", "36"),
            (f"{base}/last_updated", second.isoformat()),
            (f"{base}/last_changed", second.isoformat()),
            retain=True,
        )
        broker.publish(("homeassistant/switch/pump/state", "on"))
        await running.values(("sensor.flow", 35.5), ("sensor.flow", 36.0), ("switch.pump", "on"))
        by_point = {reading.point: reading for reading in running.readings}
        assert by_point["sensor.flow"].time == second


@asynchronous
async def test_messages_are_acknowledged_only_when_they_are_stored(broker: Mosquitto) -> None:
    settings = source(broker.port, "a")
    running = Listening(settings)
    begun = asyncio.Event()

    async def never(_: Polled) -> None:
        begun.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(running.listener.listen(never))
    while not running.listener.is_listening:
        await asyncio.sleep(0.01)
    broker.publish(*texts(range(5), "a"))
    await begun.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    async with listening(settings) as again:
        await again.values(*[("a", float(number)) for number in range(5)])
        await asyncio.sleep(0.3)  # the broker reads the acknowledgements
    async with listening(settings) as last:
        broker.publish(("a", "9"))
        await last.values(("a", 9.0))


@asynchronous
async def test_what_could_not_be_stored_comes_again(broker: Mosquitto) -> None:
    settings = source(broker.port, "a")
    running = Listening(settings)

    async def full(_: Polled) -> None:
        raise OSError("no space")

    task = asyncio.create_task(running.listener.listen(full))
    while not running.listener.is_listening:
        await asyncio.sleep(0.01)
    broker.publish(("a", "1"))
    with pytest.raises(OSError, match="no space"):
        await task
    running.task = asyncio.create_task(running.listener.listen(running.deliver))
    await running.values(("a", 1.0))
    assert running.listener.repeated == 0
    running.task.cancel()
    await asyncio.gather(running.task, return_exceptions=True)


@asynchronous
async def test_what_is_stored_but_not_acknowledged_is_known_when_it_comes_again(
    broker: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = source(broker.port, "a")
    running = Listening(settings)
    from hp_pipeline.sources.mqtt.connection import Connection

    with monkeypatch.context() as patch:
        patch.setattr(Connection, "acknowledge", lambda *_: None)
        running.task = asyncio.create_task(running.listener.listen(running.deliver))
        await running.until(lambda: running.listener.is_listening)
        broker.publish(("a", "1"), ("a", "1"), ("a", "2"))
        await running.values(("a", 1.0), ("a", 1.0), ("a", 2.0))
        running.task.cancel()
        await asyncio.gather(running.task, return_exceptions=True)
    running.task = asyncio.create_task(running.listener.listen(running.deliver))
    await running.until(lambda: running.listener.repeated == 3)
    broker.publish(("a", "3"))
    await running.values(("a", 1.0), ("a", 1.0), ("a", 2.0), ("a", 3.0))
    running.task.cancel()
    await asyncio.gather(running.task, return_exceptions=True)


@asynchronous
async def test_garbage_is_counted_and_costs_nothing_else(broker: Mosquitto) -> None:
    settings = source(broker.port, {"topic": "n/#", "payload": "number"}, {"topic": "j", "payload": "json"}, "#")
    async with listening(settings) as running:
        broker.publish(
            ("n/a", b"\xff\xfe\x00"),
            ("n/a", "abc"),
            ("n/a", "nan"),
            ("n/a", "1e999"),
            ("n/b", "unavailable"),
            ("n/b", ""),
            ("j", '{"a": 1'),
            ("j", "12"),
            ("j", '{"a": NaN, "b": 2, "c": null}'),
            ("j", "[" * 200_000),
            ("x", "a\x07b"),
            ("x", "z" * 2000),
            ("n/a", "7"),
        )
        await running.values(("j#b", 2.0), ("n/a", 7.0))
        assert sum(running.listener.reader.rejected.values()) == 10
        assert running.listener.reader.rejected["not a finite number"] == 3


@asynchronous
async def test_a_burst_and_a_flood_arrive_whole(broker: Mosquitto) -> None:
    settings = source(broker.port, {"topic": "q/#", "qos": 1}, gather=timedelta(seconds=5))
    async with listening(settings) as running:
        broker.publish(*texts(range(900), "q/a"))  # mosquitto keeps up to 1000 for a slow client
        await running.until(lambda: len(running.said) >= 900, within=20)
        assert [reading.value for reading in running.readings] == [float(number) for number in range(900)]
        broker.publish(*texts(range(3000), "q/b"), qos=0)
        await running.until(lambda: len(running.said) >= 3900, within=20)


@asynchronous
async def test_silence_is_a_failure(broker: Mosquitto) -> None:
    error = await failure(source(broker.port, "a", silence=timedelta(seconds=1)))
    assert error.outcome is Outcome.timeout
    assert "no message came within 1 s" in str(error)


@asynchronous
async def test_a_topic_that_is_no_longer_read_is_passed_over(broker: Mosquitto) -> None:
    async with listening(source(broker.port, "a", "b")):
        pass
    async with listening(source(broker.port, "b")) as running:
        broker.publish(("a", "1"), ("b", "2"))
        await running.values(("b", 2.0))
    async with listening(source(broker.port, "b")) as running:
        broker.publish(("b", "3"))
        await running.values(("b", 3.0))


@asynchronous
async def test_the_clock_of_a_device_is_told(broker: Mosquitto) -> None:
    settings = source(broker.port, {"topic": "j", "time": "t"})
    running = Listening(settings)
    ahead = datetime.now(UTC) + timedelta(seconds=90)
    polled = running.listener.reader.read([], datetime.now(UTC))
    assert polled.device_time is None
    async with listening(settings) as running:
        broker.publish(("j", f'{{"t": "{ahead.isoformat()}", "x": 1}}'))
        await running.values(("j#x", 1.0))
        assert running.polled[0].device_time is None  # just connected: it may have waited at the broker
        assert running.readings[0].time == ahead
