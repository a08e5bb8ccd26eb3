"""A life is one trajectory, however often it is interrupted and however fast a part of it is lived."""

import dataclasses
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from hp_pipeline.simulation.devices.world import House
from hp_pipeline.simulation.house import Trajectory, simulate
from hp_pipeline.simulation.parameters import DAIKIN_ALTHERMA, STIEBEL_HPA
from hp_pipeline.simulation.street.life import SETTLING, SPEEDS, Life, step_s
from hp_pipeline.simulation.weather import simulate_weather

START = datetime(2025, 1, 13, 15, 7, tzinfo=UTC)
NOON = datetime(2025, 1, 14, 12, tzinfo=UTC)
ARRAYS = [field.name for field in dataclasses.fields(Trajectory) if "Array" in str(field.type)]


def lived(path: Path, until: datetime = NOON, speed: int = 1) -> Life:
    life = Life(STIEBEL_HPA, 1, 8, path, START)
    for _ in life.grow(until, speed):
        pass
    return life


def test_stretches_are_one_run_and_one_house(tmp_path: Path) -> None:
    life = lived(tmp_path / "life.json")
    assert len(life.stretches) == 2, "its day ends at the local midnight"
    weather = simulate_weather(START - SETTLING, life.end, step_s=10, seed=1)
    whole = simulate(STIEBEL_HPA, weather, 8, settling=SETTLING)
    joined = life.run(life.start, life.end)
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(joined, name), getattr(whole, name), err_msg=name)
    assert joined.compressor_hz.max() > 0
    house = House(whole)
    midnight = datetime(2025, 1, 13, 23, tzinfo=UTC)
    for moment in (START, midnight - timedelta(seconds=3), midnight, midnight + timedelta(minutes=7), NOON):
        one, other = life.at(moment), house.at(moment)
        assert set(one) == set(other)
        for name, value in other.items():
            if name != "outdoor_temperature_24h":  # from the days' means, roughly
                assert one[name] == (pytest.approx(value, abs=1e-6) if isinstance(value, float) else value), name
        assert life.stops(moment, 2) == house.stops(moment, 2)
        assert life.counter("thermal_energy_total", moment) == pytest.approx(one.number("thermal_energy_total"))


def test_a_life_goes_on_after_a_restart_as_if_there_had_been_none(tmp_path: Path) -> None:
    path = tmp_path / "life.json"
    one = lived(path)
    told = {name: one.at(NOON)[name] for name in one.at(NOON)}
    again = Life(STIEBEL_HPA, 1, 8, path)
    assert dict(again.at(NOON)) == told
    later = NOON + timedelta(days=1)
    for life in (one, again):
        for _ in life.grow(later):
            pass
    assert dict(one.at(later)) == dict(again.at(later))
    assert one.stretches == again.stretches
    with pytest.raises(ValueError, match="another house"):
        Life(DAIKIN_ALTHERMA, 1, 8, path)


@pytest.mark.parametrize("speed", [6, 60])
def test_at_every_speed_power_times_time_is_what_is_counted(tmp_path: Path, speed: int) -> None:
    life = lived(tmp_path / "life.json", NOON + timedelta(days=1))
    before = {moment: dict(life.at(moment)) for moment in (NOON - timedelta(hours=1), NOON - timedelta(seconds=1))}
    life.cut(NOON)
    assert life.end == NOON
    for _ in life.grow(NOON + timedelta(minutes=90), speed):
        pass
    for moment, told in before.items():
        assert dict(life.at(moment)) == told, "what was told stays told"
    *_, fast, _ = life.stretches
    assert (fast.told, fast.lived_end - fast.lived) == (NOON.timestamp(), 3600 * speed), "an hour is so many hours"
    # From before the change of speed to after it, in steps that both parts are made of.
    unix_s = np.arange(int(NOON.timestamp()) - 1800, int(NOON.timestamp()) + 5400, 1)
    power, energy = (
        np.concatenate(
            [
                house.over(unix_s[(unix_s >= house.start.timestamp()) & (unix_s < house.end.timestamp())])[name]
                for house in life.houses(NOON - timedelta(minutes=30), NOON + timedelta(minutes=90))
            ]
        )
        for name in ("electrical_power", "electrical_energy_total")
    )
    assert len(power) == len(unix_s)
    assert power.max() > 500
    np.testing.assert_allclose(np.diff(energy), power[:-1] / 3.6e6, atol=1e-9)
    mean = life.mean_power("electrical_energy_total", NOON, NOON + timedelta(hours=1))
    assert mean == pytest.approx(power[1800:5400].mean())


def test_speeds() -> None:
    for speed in SPEEDS:
        assert 60 % step_s(speed) == 0
        assert step_s(speed) % speed == 0, "whole seconds on the wall"
    with pytest.raises(ValueError, match="a speed of 7 is not possible; use 1, 2"):
        step_s(7)
    with pytest.raises(ValueError, match="a speed of 0"):
        step_s(0)


def test_what_was_not_lived_cannot_be_asked(tmp_path: Path) -> None:
    life = lived(tmp_path / "life.json", START + timedelta(hours=1))
    for moment in (START - timedelta(seconds=1), life.end):
        with pytest.raises(ValueError, match="outside of what was lived"):
            life.at(moment)
    with pytest.raises(ValueError, match="no life"):
        Life(STIEBEL_HPA, 1, 8, tmp_path / "nobody.json")
    assert [b.told - a.told_end for a, b in pairwise(life.stretches)] == [0] * (len(life.stretches) - 1)
