"""Heat that is calculated without a flow rate, as a last resort: for heat pumps of which nothing better is read at all.

By modulation × rated power, which takes part load for proportional; else by an assumed flow rate × spread. Which of
them is a matter of what a heat pump tells, and not of the moment: neither fills the gaps of the other or of a better
way. `frames` stay as they were measured; figures are made of what this adds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import polars as pl

from hp_pipeline.transforms.division import divided
from hp_pipeline.vocabulary.rules import Rules
from hp_pipeline.vocabulary.ways import ASSUMED_FLOW, MODULATION

OPERATION_COLUMNS: Final = ("start", "mode", "defrost", "compressor_running")
"""What is read of the operation."""

_PUMPS_W: Final = 5.0
"""Pumps that take more than this move water."""


@dataclass(frozen=True)
class Reckoned:
    """What heat is calculated from.

    Attributes:
        rated_power_kw: rated thermal power, where the modulation of the compressor is told; else None.
        assumed_flow_rate_l_per_h: flow rate while water flows, where flow and return temperature are told; else None.
    """

    rated_power_kw: float | None = None
    assumed_flow_rate_l_per_h: float | None = None


def with_heat(frames: pl.DataFrame, operation: pl.DataFrame, by: Reckoned, rules: Rules) -> pl.DataFrame:
    """The frames with calculated heat as `thermal_power`, and the way to it as `thermal_way`.

    While the compressor rests it is 0. By modulation there is none while cooling, for which the rated power says
    nothing; while defrosting it is what the spread tells, no more than 0, and 0 where no flow rate is assumed. Assumed
    water flows while the pumps of the building take power, where that is told, else while the compressor runs.

    Args:
        frames: table `frames` of one heat pump whose inputs tell neither heat nor a flow rate.
        operation: `OPERATION_COLUMNS` of the same frames.
    """
    rows = frames.join(operation.select(OPERATION_COLUMNS), on="start", how="left", maintain_order="left")
    runs, defrosts = pl.col("compressor_running"), pl.col("defrost_right").fill_null(False)
    watts_per_k = (by.assumed_flow_rate_l_per_h or 0.0) * rules.density_kg_per_l * rules.specific_heat_kj_per_kg_k / 3.6
    by_spread = pl.col("delta_t") * watts_per_k if by.assumed_flow_rate_l_per_h else pl.lit(None, pl.Float64)
    if by.rated_power_kw is not None:
        power = (
            pl.when(~runs)
            .then(0.0)
            .when(runs & defrosts)
            .then(by_spread.clip(upper_bound=0.0).fill_null(0.0))
            .when(runs & pl.col("mode").ne_missing("cooling"))
            .then(divided(pl.col("compressor_modulation"), 100) * (by.rated_power_kw * 1000))
        )
        way = (
            pl.when(defrosts & runs & by_spread.is_not_null()).then(pl.lit(ASSUMED_FLOW)).otherwise(pl.lit(MODULATION))
        )
    else:
        flows = pl.coalesce(pl.col("circulation_pump_power") > _PUMPS_W, runs)
        power = pl.when(flows).then(by_spread).when(~flows).then(0.0)
        way = pl.lit(ASSUMED_FLOW)
    rows = rows.with_columns(thermal_power=power)
    return rows.with_columns(thermal_way=pl.when(pl.col("thermal_power").is_not_null()).then(way)).select(
        frames.columns
    )
