"""Commands that show what happened: cycling, defrosts, faults, states."""

from __future__ import annotations

from typing import Any, Literal

import click

from hp_pipeline.cli.figures import Shown, ranged


@click.command()
@ranged
@click.option("--by", type=click.Choice(["day", "run"]), default="day", show_default=True, help="What a row is.")
def cycling(by: Literal["day", "run"], **options: Any) -> None:
    """How the compressor cycles: starts, runs, pauses, a verdict on short cycling, the device's own count."""
    from hp_pipeline.outputs.summary import CYCLING_VIEW, RUN_VIEW

    shown = Shown.of(**options)
    if by == "run":
        shown.show(shown.table("compressor_runs"), RUN_VIEW, "Runs of the compressor, each with the pause before it")
    else:
        shown.show(shown.table("cycling_daily"), CYCLING_VIEW, "How the compressor cycles, by day")


@click.command()
@ranged
@click.option(
    "--by",
    type=click.Choice(["season", "month", "defrost"]),
    default="season",
    show_default=True,
    help="What a row is.",
)
def defrosts(by: Literal["season", "month", "defrost"], **options: Any) -> None:
    """What defrosts take and cost: by heating season or month and outdoor temperature, or one by one."""
    from hp_pipeline.outputs.summary import DEFROST_BIN_VIEW, DEFROST_VIEW

    shown = Shown.of(**options)
    if by == "defrost":
        shown.show(shown.table("defrosts"), DEFROST_VIEW, "Defrosts")
        return
    table = {"season": "defrost_seasonal", "month": "defrost_monthly"}[by]
    shown.show(shown.table(table), DEFROST_BIN_VIEW, f"Defrosts by {by} and outdoor temperature")


@click.command()
@ranged
@click.option("--kind", type=click.Choice(["fault", "switch_off"]), help="Only these. Default: all.")
def faults(kind: str | None, **options: Any) -> None:
    """What went wrong and what switched the machine off, with what ran; the newest last."""
    import polars as pl

    from hp_pipeline.outputs.summary import FAULT_VIEW

    shown = Shown.of(**options)
    rows = shown.table("faults", margin=2)
    if kind is not None:
        rows = rows.filter(pl.col("kind") == kind)
    if rows.is_empty() and shown.form == "text":
        click.echo("No fault and no switch-off is known of that time.")
        return
    shown.show(rows, FAULT_VIEW, "Faults and switch-offs")


@click.command()
@ranged
@click.option("--signal", help="Only this one, such as thermostat. Default: all.")
def states(signal: str | None, **options: Any) -> None:
    """How often and for how long each state was, by day; of the solar heatings, too."""
    import polars as pl

    from hp_pipeline.outputs.summary import STATE_VIEW

    shown = Shown.of(**options, with_solar=True)
    rows = shown.table("state_daily")
    known = sorted(rows["signal"].unique())
    if signal is not None and known and signal not in known:
        raise click.UsageError(f"There is no state {signal!r}; there are: {', '.join(known)}.")
    shown.show(rows if signal is None else rows.filter(pl.col("signal") == signal), STATE_VIEW, "States by day")
