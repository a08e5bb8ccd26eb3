"""Auto-zero: what the sensors of flow and return differ by while nothing heats, and heat without that.

When the pump has turned water over for 20 min since the compressor stopped, flow and return are equal to 0.01 … 0.03 K;
what the sensors differ by is their offset. At the 3 K spread of a floor heating 0.1 K of it are 3 % of the heat while
the compressor runs, and 6 % when a standstill's flow is counted as heat too.

Offsets are told by raw frames only, and applied when figures are made: what is told never depends on what was applied.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import polars as pl

from hp_pipeline.transforms.schema import UTC, conform
from hp_pipeline.vocabulary.rules import Rules
from hp_pipeline.vocabulary.tables.standstill import OFFSET_DAYS

SETTLE = timedelta(minutes=20)
"""So long after whatever heated, and with water flowing, flow and return are equal."""

FRAME_COLUMNS = [
    *("heat_pump", "start", "end", "flow_rate", "delta_t", "defrost"),
    *("backup_heater_power", "backup_heater_step1", "backup_heater_step2"),
]
"""What is read of the frames, with `compressor_running`."""

LEAST_STANDSTILL = timedelta(minutes=5)
LEAST_STANDSTILLS = 3
"""With fewer no offset is told."""
LARGEST_OFFSET_K = 3.0
"""Flow and return that differ by more do not measure the same water."""

_FLOWS_L_PER_H = 60.0
_BACKUP_W = 50.0


def at_rest() -> pl.Expr:
    """Whether nothing heats or has heated for `SETTLE`: neither compressor nor backup heater nor a defrost; null when
    the compressor is unknown. Frames are sorted by `start`; over a hole between them nothing is known to rest."""
    return _settled(pl.col("compressor_running").is_null() | _heats()) & pl.col("compressor_running").is_not_null()


def _heats() -> pl.Expr:
    backup = (
        pl.col("backup_heater_step1").fill_null(False)
        | pl.col("backup_heater_step2").fill_null(False)
        | (pl.col("backup_heater_power") > _BACKUP_W).fill_null(False)
    )
    return pl.col("compressor_running").fill_null(False) | pl.col("defrost").fill_null(False) | backup


def _settled(disturbed: pl.Expr) -> pl.Expr:
    """Whether for `SETTLE` there was no hole and nothing that disturbs."""
    hole = (pl.col("start") > pl.col("end").shift(1)).fill_null(True)
    since = pl.when(disturbed).then("end").when(hole).then("start").forward_fill()
    return (~disturbed & (pl.col("start") - since >= SETTLE)).fill_null(False)


def standstills(frames: pl.DataFrame, start: datetime, end: datetime) -> pl.DataFrame:
    """Table `standstills` for the frames that start within [start, end) (whole UTC days).

    Args:
        frames: `FRAME_COLUMNS` and `compressor_running`, sorted, from at least `SETTLE` before `start` on.
    """
    still = _flows() & _settled(pl.col("compressor_running").is_null() | _heats() | ~_flows())
    span = (pl.col("end") - pl.col("start")).dt.total_microseconds()
    day = pl.col("start").dt.date()
    rows = (
        frames.with_columns(still=still & (pl.col("delta_t").abs() <= LARGEST_OFFSET_K).fill_null(False))
        .filter(pl.col("start") >= start, pl.col("start") < end)
        .with_columns(span=span)
        .with_columns(number=pl.struct("still", day).rle_id())
        .filter("still")
    )
    if rows.is_empty():
        return conform(None, "standstills")
    offset = _sum("delta_t") / (pl.col("span").sum() * _SCALE)
    square = ((pl.col("delta_t") ** 2 * pl.col("span") * _SCALE).round().cast(pl.Int64)).sum() / (
        pl.col("span").sum() * _SCALE
    )
    found = (
        rows.group_by("number", maintain_order=True)
        .agg(
            pl.col("heat_pump", "start").first(),
            pl.col("end").last(),
            offset_k=offset,
            spread_k=(square - offset**2).clip(lower_bound=0).sqrt(),
            flow_rate_mean=_sum("flow_rate") / (pl.col("span").sum() * _SCALE),
        )
        .filter(pl.col("end") - pl.col("start") >= LEAST_STANDSTILL)
    )
    return conform(found, "standstills")


_SCALE = 1000


def _sum(name: str) -> pl.Expr:
    return (pl.col(name) * pl.col("span") * _SCALE).round().cast(pl.Int64).sum()


def _flows() -> pl.Expr:
    return (pl.col("flow_rate") > _FLOWS_L_PER_H).fill_null(False)


def sensor_offsets(found: pl.DataFrame, heat_pump: str, days: Sequence[datetime], applied: str | None) -> pl.DataFrame:
    """Table `sensor_offsets`: a row for each of the UTC days (their midnights).

    Args:
        found: rows of `standstills` of these days and of the `OFFSET_DAYS` - 1 before each (more do not matter).
        applied: None when the offset is taken off the heat, else why it is not.
    """
    wanted = pl.DataFrame({"start": pl.Series(list(days), dtype=UTC)})
    own = found.select(pl.col("start").dt.truncate("1d").alias("of"), offset="offset_k")
    near = wanted.join_where(
        own, pl.col("of") <= pl.col("start"), pl.col("of") > pl.col("start") - timedelta(days=OFFSET_DAYS)
    )
    today = pl.col("of") == pl.col("start")
    median = pl.col("offset").median()
    told = near.group_by("start").agg(
        standstills=today.sum().cast(pl.Int64),
        offset_day_k=pl.col("offset").filter(today).median(),
        standstills_in_all=pl.len().cast(pl.Int64),
        offset_k=median,
        spread_k=1.4826 * (pl.col("offset") - median).abs().median(),
    )
    rows = wanted.join(told, on="start", how="left", maintain_order="left").with_columns(
        pl.col("standstills", "standstills_in_all").fill_null(0)
    )
    enough = pl.col("standstills_in_all") >= LEAST_STANDSTILLS
    few = pl.format("only {} standstills in {} days", "standstills_in_all", pl.lit(OFFSET_DAYS))
    rows = rows.with_columns(
        heat_pump=pl.lit(heat_pump),
        end=pl.col("start") + timedelta(days=1),
        offset_k=pl.when(enough).then("offset_k"),
        spread_k=pl.when(enough).then("spread_k"),
        offset_reason=pl.when(~enough).then(few).otherwise(pl.lit(applied, pl.String)),
        applied=enough & pl.lit(applied is None),
    )
    return conform(rows, "sensor_offsets")


def zeroed(frames: pl.DataFrame, operation: pl.DataFrame, offsets: pl.DataFrame, rules: Rules) -> pl.DataFrame:
    """The frames with heat made from flow rate and spread put right: less the offset of the day while something heats
    or its heat is still carried away, and 0 at rest. On days without an offset nothing is changed.

    Args:
        frames: table `frames`, whose `thermal_power` was made from `flow_rate` and `delta_t`.
        operation: `start`, `at_rest` for the same frames.
        offsets: rows of `sensor_offsets`.
    """
    by_day = offsets.filter("applied").select(day=pl.col("start").dt.date(), offset="offset_k")
    watts_per_l_per_h_and_k = rules.density_kg_per_l * rules.specific_heat_kj_per_kg_k / 3.6
    rows = frames.with_columns(day=pl.col("start").dt.date()).join(by_day, on="day", how="left", maintain_order="left")
    rows = rows.join(operation.select("start", "at_rest"), on="start", how="left", maintain_order="left")
    known = pl.col("offset").is_not_null() & pl.col("thermal_power").is_not_null()
    right = pl.col("thermal_power") - pl.col("flow_rate") * pl.col("offset") * watts_per_l_per_h_and_k
    power = (
        pl.when(known & pl.col("at_rest").fill_null(False))
        .then(0.0)
        .when(known & pl.col("flow_rate").is_not_null())
        .then(right)
        .otherwise("thermal_power")
    )
    return rows.with_columns(thermal_power=power).select(frames.columns)
