"""Pictures of a day, small enough to be kept in an event."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MODE_COLOURS = {"heating": "#d95f02", "dhw": "#7570b3", "cooling": "#1b9e77", "standby": "#eeeeee"}


def day_picture(frames: pl.DataFrame, operation: pl.DataFrame, time_zone: str, title: str) -> bytes:
    """A PNG of frames: temperatures above, electrical and thermal power below, the modes behind both.

    Args:
        frames: table `frames` of a day of one heat pump.
        operation: table `operation` for the same frames.
    """
    from matplotlib.dates import DateFormatter
    from matplotlib.figure import Figure

    rows = frames.select(
        "start", "flow_temperature", "return_temperature", "outdoor_temperature", "dhw_temperature",
        "electrical_power", "thermal_power",
    ).with_columns(pl.col("start").dt.convert_time_zone(time_zone).dt.replace_time_zone(None))  # fmt: skip
    figure = Figure(figsize=(7.5, 4.2), dpi=72, layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    _shade_modes((above, below), operation, time_zone)
    for name, colour in (
        ("flow_temperature", "#b2182b"),
        ("return_temperature", "#2166ac"),
        ("dhw_temperature", "#7570b3"),
        ("outdoor_temperature", "#666666"),
    ):
        if rows[name].null_count() < rows.height:
            above.plot(rows["start"], rows[name], lw=0.8, color=colour, label=name.replace("_", " "))
    for name, colour in (("thermal_power", "#b2182b"), ("electrical_power", "#1a1a1a")):
        if rows[name].null_count() < rows.height:
            below.plot(rows["start"], rows[name] / 1000, lw=0.8, color=colour, label=name.replace("_", " "))
    above.set_ylabel("°C")
    below.set_ylabel("kW")
    above.set_title(title, fontsize=9)
    for axes in (above, below):
        axes.tick_params(labelsize=7)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize=6, loc="upper left", ncols=4, framealpha=0.7)
    below.xaxis.set_major_formatter(DateFormatter("%H:%M"))  # type: ignore[no-untyped-call]
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _shade_modes(axes: tuple[Axes, ...], operation: pl.DataFrame, time_zone: str) -> None:
    islands = (
        operation.filter(pl.col("mode").is_not_null() & (pl.col("mode") != "standby"))
        .with_columns(island=(pl.col("session_start")).cast(pl.Int32).cum_sum())
        .group_by("island", maintain_order=True)
        .agg(pl.col("mode", "start").first(), pl.col("end").last())
        .with_columns(pl.col("start", "end").dt.convert_time_zone(time_zone).dt.replace_time_zone(None))
    )
    for mode, start, end in islands.select("mode", "start", "end").iter_rows():
        for one in axes:
            one.axvspan(start, end, color=MODE_COLOURS[mode], alpha=0.18, lw=0)
