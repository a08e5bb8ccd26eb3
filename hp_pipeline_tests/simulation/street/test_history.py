"""What the files tell of an instant is what the device itself would have told, asked by the real client."""

import asyncio
import shutil
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from hp_pipeline.landing.ledger import CallLedger
from hp_pipeline.landing.service import live_source
from hp_pipeline.landing.store import Landing
from hp_pipeline.settings import load_settings
from hp_pipeline.simulation.devices.world import Clock
from hp_pipeline.simulation.street.history import WORDS, of_device, of_solar, readings
from hp_pipeline.simulation.street.houses import HISTORY, HOUSES, SOLAR
from hp_pipeline.simulation.street.plan import settings_of
from hp_pipeline.simulation.street.server import Street, solar_house
from hp_pipeline.sources.live import ListeningSource, Polled, PolledSource, Reading
from hp_pipeline.transforms.told import full_series
from hp_pipeline.vocabulary.profiles import load_profile
from hp_pipeline_tests.simulation.street.conftest import minute_ago, with_own_ports

Values = dict[str, float | str | None]


def street_at(made: Path, folder: Path, moment: datetime) -> Street:
    """A copy of the street, whose clock stands."""
    shutil.copytree(made, folder / "data")
    plan = with_own_ports(folder / "data")
    (folder / "data" / "hp.yaml").write_text(settings_of(plan), encoding="utf-8")
    return Street(plan, folder / "data", clock=Clock(moment, speed=0))


def values(told: list[Reading]) -> Values:
    return {reading.point: reading.text if reading.value is None else reading.value for reading in told}


async def asked(street: Street) -> dict[str, Values]:
    """What every source's own client is told."""
    settings = load_settings(street.data / "hp.yaml")
    found: dict[str, Values] = {}
    ledgers: dict[str, list[CallLedger]] = {}
    async with street.serving():
        with Landing(street.data) as landing:
            for source in [*HISTORY, SOLAR]:
                live = live_source(settings.source(source), settings, landing, ledgers)
                live.load()
                client = live.open()
                if isinstance(client, PolledSource):
                    found[source] = values(list((await client.poll()).readings))
                else:
                    found[source] = await heard(street, client)
                await client.close()
    return found


async def heard(street: Street, client: ListeningSource) -> Values:
    """What a listening client hears of one round of messages."""
    found: Values = {}
    publisher = street.publisher
    assert publisher is not None

    async def deliver(polled: Polled) -> None:
        found.update(values(list(polled.readings)))

    listening = asyncio.ensure_future(client.listen(deliver))
    for _ in range(100):
        await asyncio.sleep(0.1)
        if {"homeassistant/sensor/pelletskamin_power/state", "solar_heating_v3/status#temperatures.rtd_sensor_0"} <= {
            *found
        }:
            break
        publisher.publish()
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)
    return found


def test_files_and_servers_tell_the_same_of_an_instant(made: Path, tmp_path: Path) -> None:
    moment = minute_ago(hours=3)
    street = street_at(made, tmp_path, moment)
    told = asyncio.run(asked(street))
    unix_s = np.array([int(moment.timestamp())])
    profiles = {"luxtronik": "luxtronik", "isg": "stiebel_eltron_wpm", "vicare": "viessmann", "shelly": "shelly_3em"}
    for source in HISTORY:
        (house,) = (one for one in HOUSES if source in one.sources)
        life = street.lives[house.id]
        (stretch,) = life.houses(moment, moment + timedelta(seconds=1))
        rows = readings(WORDS[source](stretch.over(unix_s), life), unix_s, 1)
        written = {
            point: text if value is None else value
            for point, value, text in rows.select("point", "value", "text").iter_rows()
            if not point.startswith("@")
        }
        live = {point: value for point, value in told[source].items() if point in written}
        assert live == {
            point: pytest.approx(value, abs=1e-9) if isinstance(value, float) else value
            for point, value in written.items()
        }, source
        # Nothing that the profile would have found in the live readings is missing in the files.
        if source in profiles:
            selected = load_profile(profiles[source]).mappings
            missing = {
                signal
                for signal, entry in selected.items()
                if any(selector.matches(point) for selector in entry.selectors for point in told[source])
                and not any(selector.matches(point) for selector in entry.selectors for point in written)
            }
            assert missing <= {"circulation_pump", "fault", "return_setpoint"}, source
    solar = solar_house(street.plan, moment + timedelta(hours=1))
    rows = of_solar(solar, moment, moment + timedelta(seconds=1))
    written = {point: text if value is None else value for _, point, value, text in rows.iter_rows()}
    assert len(written) > 30
    assert {point: told[SOLAR].get(point) for point in written} == written


def test_files_hold_all_polls_in_few_rows(made: Path, tmp_path: Path) -> None:
    street = street_at(made, tmp_path, minute_ago())
    stop = street.plan.began
    street.write_history()
    files = sorted(path.relative_to(street.data / "drop") for path in (street.data / "drop").rglob("*.parquet"))
    assert {path.parts[0] for path in files} == {"before", "neighbour_before", "home_assistant"}
    assert len(files) == 7
    rows = pl.concat([pl.read_parquet(street.data / "drop" / path) for path in files if path.parts[0] == "before"])
    assert not rows.select("point", "time").is_duplicated().any()
    assert rows["time"].is_between(street.plan.start, stop, closed="left").all()
    power = full_series(rows, lambda point: point == "calculation/268")
    assert power.height == pytest.approx((stop - street.plan.start).total_seconds() / 30, abs=2)
    counter = full_series(rows, lambda point: point == "emdata:0.total_act")
    meter = full_series(rows, lambda point: point == "em:0.total_act_power")
    wh = counter["value"][-1] - counter["value"][0]
    assert counter["value"].is_sorted()
    assert float(meter["value"].sum()) * 30 / 3600 == pytest.approx(wh, rel=0.01)
    street.write_history()
    assert len(list((street.data / "drop").rglob("*.parquet"))) == 7, "once"
    path = street.export_daikin(stop + timedelta(minutes=2))
    assert path is not None
    assert pl.read_parquet(path)["time"].is_between(stop, stop + timedelta(minutes=2), closed="left").all()


def test_a_device_that_was_not_there_yet_told_nothing(made: Path, tmp_path: Path) -> None:
    street = street_at(made, tmp_path, minute_ago())
    life = street.lives["novelan"]
    (stretch, *_) = life.houses(life.start, life.start + timedelta(seconds=1))
    assert of_device("luxtronik", life, stretch, life.start).is_empty()
