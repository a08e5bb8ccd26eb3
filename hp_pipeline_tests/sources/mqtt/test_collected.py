"""The collector listens: what it stored, over restarts of the broker and of its own."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hp_pipeline.landing.collector import Collector, LiveSource, Patience
from hp_pipeline.landing.health import of_source
from hp_pipeline.landing.recorder import Recorder
from hp_pipeline.landing.store import Landing
from hp_pipeline.settings.sources import MqttSource
from hp_pipeline.sources.registry import is_live, load_live, open_live
from hp_pipeline_tests.sources.mqtt.listening import asynchronous, source, texts
from hp_pipeline_tests.sources.mqtt.mosquitto import Mosquitto

ALWAYS = datetime(2020, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)


@contextlib.asynccontextmanager
async def collecting(folder: Path, settings: MqttSource) -> AsyncIterator[tuple[Landing, Collector]]:
    """A collector that runs while the block does."""
    assert is_live(settings)
    live = LiveSource(
        settings.id,
        settings.kind,
        None,
        settings.timeout,
        lambda: load_live(settings),
        lambda: open_live(settings, {"directory": folder, "folder": folder, "state": landing.state(settings.id)}),
    )
    with Landing(folder) as landing:
        recorder = Recorder(landing, gather=0)
        writing = asyncio.create_task(recorder.run())
        collector = Collector(recorder, patience=Patience(reconnect_most=0.5))
        await collector.use([live])
        try:
            yield landing, collector
        finally:
            assert await collector.stop()
            assert await recorder.flush(2)
            writing.cancel()
            recorder.close()


def stored(landing: Landing) -> list[tuple[str, float | str]]:
    """Everything that was stored, in its order."""
    told = [
        (time, point, value) for _, readings in landing.series("broker", *ALWAYS) for point, time, value in readings
    ]
    return [(point, value) for _, point, value in sorted(told, key=lambda item: item[0])]


async def until(condition: Callable[[], object], within: float = 10) -> None:
    async with asyncio.timeout(within):
        while not condition():
            await asyncio.sleep(0.02)


@asynchronous
async def test_nothing_is_lost_over_restarts_of_the_broker_and_of_the_collector(
    broker: Mosquitto, tmp_path: Path
) -> None:
    settings = source(broker.port, "a", gather=timedelta(milliseconds=20))
    async with collecting(tmp_path, settings) as (landing, _):
        broker.publish(("first", "0"))
        await until(lambda: "SUBACK" in (broker.folder / "log").read_text())
        broker.publish(*texts(range(5), "a"))
        await until(lambda: len(stored(landing)) >= 5)
        broker.stop()
        # It stays away for longer than one attempt to connect again.
        await until(lambda: sum(poll.outcome == "refused" for poll in landing.polls("broker")) >= 3)
        broker.start()
        broker.publish(*texts(range(5, 9), "a"))
        await until(lambda: len(stored(landing)) >= 9)
    broker.publish(*texts(range(9, 12), "a"))
    async with collecting(tmp_path, settings) as (landing, collector):
        await until(lambda: len(stored(landing)) >= 12)
        assert stored(landing) == [("a", float(number)) for number in range(12)]
        assert {poll.outcome for poll in landing.polls("broker")} == {"ok", "refused"}
        broker.publish(("a", "nan"), ("a", "nan"), ("a", "12"))
        await until(lambda: len(stored(landing)) >= 13)
        assert of_source(collector.tasks["broker"], (), datetime.now(UTC))["rejected"] == {"not a finite number": 2}
