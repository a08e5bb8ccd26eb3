"""What the pipeline should find in the street: of every house the events and the energies of each local day, and how
near its tables come.

Everything is in the time of the wall, as the devices tell it: of a part that was lived at speed 60, an hour's energy is
what was told in an hour.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

import polars as pl

from hp_pipeline.simulation.devices.mqtt import SolarHouse
from hp_pipeline.simulation.scoring import SOLAR_ENERGIES
from hp_pipeline.simulation.street.life import Life
from hp_pipeline.simulation.street.plan import FOLDER
from hp_pipeline.simulation.truth import truth_energy, truth_events

_TRUTH: Final = "truth"


def folder_of(data: Path) -> Path:
    """Where the truth is kept: `<house>/energy/<day>.parquet` and `<house>/events/<day>.parquet`."""
    return data / FOLDER / _TRUTH


def write_truth(data: Path, house: str, life: Life, until: datetime) -> int:
    """Write the truth of every local day that has ended by a moment and is not written yet, and of the present day.

    Energies: a row of `truth.truth_energy`. Events: those of `truth.truth_events` that begin on the day; one that goes
    on beyond the day after is cut there.

    Returns:
        The number of days written.
    """
    zone = ZoneInfo(life.parameters.time_zone)
    day, last = life.start.astimezone(zone).date(), until.astimezone(zone).date()
    written = 0
    while day <= last:
        energy, events = (folder_of(data) / house / kind / f"{day}.parquet" for kind in ("energy", "events"))
        begin, end = (
            datetime.combine(one, datetime.min.time(), zone).astimezone(UTC) for one in (day, day + timedelta(days=1))
        )
        begin = max(begin, life.start)
        if (day == last or not events.exists()) and begin < min(end, until):
            stop = min(end, until.replace(second=0, microsecond=0))
            if stop > begin:
                _write(truth_energy(life.run(begin, stop)), energy)
                seen_until = min(end + timedelta(days=1), life.end)
                found = truth_events(life.run(max(life.start, begin - timedelta(days=1)), seen_until))
                _write(found.filter(pl.col("start").is_between(begin, end, closed="left")), events)
                written += 1
        day += timedelta(days=1)
    return written


def _write(frame: pl.DataFrame, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.partial")
    frame.write_parquet(beside, compression="zstd")
    beside.replace(path)


def true_energy(data: Path, house: str) -> pl.DataFrame:
    """Energies of every local day of a house; see `truth.truth_energy`.

    Raises:
        FileNotFoundError: nothing was written yet.
    """
    paths = sorted((folder_of(data) / house / "energy").glob("*.parquet"))
    if not paths:
        raise FileNotFoundError(f"no truth of {house} below {folder_of(data)}")
    # Days that an older version wrote may lack a column; they count as not known there.
    return pl.concat([pl.read_parquet(path) for path in paths], how="diagonal")


def true_solar(house: SolarHouse, periods: pl.DataFrame) -> pl.DataFrame:
    """What happened in each of these periods (`start`, `end`) in the house with the solar heating: `start` and the
    energies, see `SolarHouse.between`."""
    moment = pl.Datetime("us", "UTC")
    rows = [{"start": start, **house.between(start, end)} for start, end in periods.select("start", "end").iter_rows()]
    if not rows:
        return pl.DataFrame(schema={"start": moment, **dict.fromkeys(SOLAR_ENERGIES, pl.Float64())})
    return pl.DataFrame(rows, schema_overrides={"start": moment})


def compare(truth: pl.DataFrame, daily: pl.DataFrame, measured: Mapping[str, Sequence[pl.Expr]]) -> pl.DataFrame:
    """Energies of whole days beside what was found.

    Args:
        truth: see `true_energy`.
        daily: the table `daily` of the heat pump.
        measured: by energy of the table (`electrical_energy_kwh`) what of the truth it should be: where it
            was made of counters alone, and else.

    Returns:
        `period`, and for each energy `<energy>`, `<energy>_true` (kWh) and `<energy>_error_percent`; null where
        nothing was found.
    """
    found = {f"_{energy}": pl.col(energy) for energy in measured}
    methods = {f"_{energy}_method": pl.col(f"{energy.partition('_')[0]}_method") for energy in measured}
    seen = daily.select(period=pl.col("period").cast(pl.String).str.to_date(), **found, **methods)
    both = truth.filter("complete").join(seen, on="period", how="left").sort("period")
    counters = r"^\w+ counter(, \w+ counter)*$"
    by_counter = {energy: pl.col(f"_{energy}_method").cast(pl.String).str.contains(counters) for energy in measured}
    compared = both.select(
        "period",
        *(pl.col(f"_{energy}").alias(energy) for energy in measured),
        *(
            pl.when(by_counter[energy]).then(counter).otherwise(integral).alias(f"{energy}_true")
            for energy, (counter, integral) in measured.items()
        ),
    )
    return compared.with_columns(
        (100 * (pl.col(energy) / pl.col(f"{energy}_true") - 1)).alias(f"{energy}_error_percent") for energy in measured
    )
