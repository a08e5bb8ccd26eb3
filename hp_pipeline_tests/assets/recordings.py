"""Recordings of one Daikin by Home Assistant, where they lie beside the repository, and a synthetic twin of them.

The twin has what makes the recordings hard: states and numbers that come at different phases of an irregular beat, a
valve that swings to the tank before the defrost, a phantom frame of heating at the end of hot water, and a frame in
which the controller says 0 for the outdoor temperature and the target.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl

from hp_pipeline_tests.assets.house import (
    DEFROST,
    DELTA_T,
    FLOW_RATE,
    MODE,
    OUTDOOR,
    POWER,
    TARGET_DELTA_T,
    THERMOSTAT,
    VALVE,
    readings,
)

FOLDER = Path(__file__).parents[2].parent / "shared" / "data" / "daikin_home_assistant"


def recorded(name: str) -> pl.DataFrame:
    """The readings of a recording."""
    return (
        pl.read_parquet(FOLDER / f"{name}.long.parquet")
        .select(
            point="source_name", time=pl.col("time_utc").dt.cast_time_unit("us"), value="value_float", text="value_str"
        )
        .sort("point", "time")
    )


def expected_sessions(name: str) -> pl.DataFrame:
    """Sessions of a recording by the rule, as worked out apart from this program: `mode`, `start`, energies in kWh."""
    words = {"CH": "heating", "DHW": "dhw", "Standby": "standby"}
    return pl.read_csv(FOLDER / f"proposed.{name}.sessions.csv", try_parse_dates=True).select(
        mode=pl.col("mode").replace_strict(words),
        start=pl.col("start").dt.convert_time_zone("UTC").dt.cast_time_unit("us"),
        electrical="e_in",
        thermal="e_out",
    )


@dataclass(frozen=True)
class Scene:
    """A stretch of the twin's life in which nothing changes.

    Attributes:
        beats: how many times the states are told, every 30 s.
        session: what a person who knows the machine would call it.
    """

    beats: int
    session: str
    heating: bool = False
    to_tank: bool = False
    defrost: bool = False
    power_w: float = 20.0
    flow_l_per_min: float = 0.0
    delta_t_k: float = 0.0
    glitch: bool = False


def _rest(beats: int) -> Scene:
    return Scene(beats, "standby")


def _heat(beats: int, glitch: bool = False) -> Scene:
    return Scene(beats, "heating", True, power_w=1500, flow_l_per_min=20, delta_t_k=4.5, glitch=glitch)


def _tank_defrost(early: int) -> list[Scene]:
    """The valve swings `early` beats before the flag, and back while it still is on."""
    return [
        Scene(early, "heating", True, to_tank=True, power_w=1200, flow_l_per_min=20, delta_t_k=1.0),
        Scene(6, "heating", True, to_tank=True, defrost=True, power_w=900, flow_l_per_min=25, delta_t_k=-7.0),
        Scene(3, "heating", True, defrost=True, power_w=1100, flow_l_per_min=20, delta_t_k=-1.0),
    ]


def _hot_water(beats: int) -> Scene:
    return Scene(beats, "dhw", True, to_tank=True, power_w=2300, flow_l_per_min=18, delta_t_k=6.0)


LIFE = [
    _rest(120), _heat(150), *_tank_defrost(1), _heat(120), _rest(300),
    _hot_water(90), Scene(1, "dhw", True, power_w=400, flow_l_per_min=18, delta_t_k=2.0), _rest(400),
    _heat(200), _heat(1, glitch=True), _heat(200), _rest(900),
    _heat(100), *_tank_defrost(2), _heat(150), _rest(60),
]  # fmt: skip
START = datetime(2024, 10, 9, 4, 0, 7, tzinfo=UTC)
BEAT = timedelta(seconds=30)
NUMBERS_LATE_BY = timedelta(seconds=9)


def twin() -> pl.DataFrame:
    """The twin's readings: states at every beat, numbers when they change and 9 s (sometimes 21 s) later."""
    rows: list[tuple[str, datetime, float | str]] = []
    time, last, number = START, {}, 0
    for scene in LIFE:
        for _ in range(scene.beats):
            rows += [
                (MODE, time, "Heating" if scene.heating else "Fan Only"),
                (VALVE, time, "ON" if scene.to_tank else "OFF"),
                (DEFROST, time, "ON" if scene.defrost else "OFF"),
                (THERMOSTAT, time, "ON" if scene.heating else "OFF"),
            ]
            said = {
                # A little noise, as a meter has it, makes a second kind of frame between the beats.
                POWER: scene.power_w + number % 3,
                FLOW_RATE: scene.flow_l_per_min,
                DELTA_T: scene.delta_t_k,
                OUTDOOR: 0.0 if scene.glitch else 8.0,
                TARGET_DELTA_T: 0.0 if scene.glitch else 5.0,
            }
            later = time + (NUMBERS_LATE_BY if number % 5 else timedelta(seconds=21))
            rows += [(point, later, value) for point, value in said.items() if last.get(point) != value]
            last = said
            time += BEAT
            number += 1
    return readings(rows)


def twin_sessions() -> list[tuple[str, datetime]]:
    """What the rule must find: mode and begin of each session."""
    found: list[tuple[str, datetime]] = []
    time = START
    for scene in LIFE:
        if not found or found[-1][0] != scene.session:
            found.append((scene.session, time))
        time += scene.beats * BEAT
    return found
