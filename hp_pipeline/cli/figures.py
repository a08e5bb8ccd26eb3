"""Commands that show figures: summary, costs, outlook, heating-by-temperature, cycles, solar."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

import click

from hp_pipeline.cli.common import DAY, Command, open_workspace, places, terminal_width

if TYPE_CHECKING:
    import polars as pl

    from hp_pipeline.assets.workspace import Workspace

Grouping = Literal["all", "year", "season", "month", "week", "day", "hour", "session", "cycle"]
COST_GROUPINGS = ("all", "year", "season", "month", "week", "day")
SOLAR_GROUPINGS = ("year", "month", "day", "hour")
_TABLE = {
    "hour": "hourly",
    "day": "daily",
    "week": "weekly",
    "month": "monthly",
    "season": "seasonal",
    "year": "yearly",
    "all": "all_time",
}
"""The end of the name of the table that has a row for each."""
GROUPINGS = ("all", "year", "season", "month", "week", "day", "hour", "session", "cycle")

_RANGE = (
    click.option("--from", "first", type=DAY, help="First local day. Default: the first there is."),
    click.option("--to", "last", type=DAY, help="Last local day, inclusive. Default: the last there is."),
    click.option("--heat-pump", "heat_pump", help="Only this heat pump. Default: all."),
    click.option("--format", "form", type=click.Choice(["text", "json", "csv"]), default="text", show_default=True),
)


def ranged(command: Command) -> Command:
    """The options of commands that show figures of a range of days."""
    for option in _RANGE:
        command = option(command)
    return places(command)


@dataclass(frozen=True)
class Shown:
    """What a command that shows figures was asked for."""

    workspace: Workspace
    first: date | None
    last: date | None
    heat_pumps: Sequence[str]
    form: str

    @classmethod
    def of(
        cls,
        settings: str | None,
        data: str | None,
        first: datetime | None,
        last: datetime | None,
        heat_pump: str | None,
        form: str,
        with_solar: bool = False,
    ) -> Shown:
        """From the options as click gives them; whether solar heatings are shown, too."""
        workspace = open_workspace(settings, data)
        known = [pump.id for pump in workspace.settings.heat_pumps]
        if with_solar:
            known += [system.id for system in workspace.settings.solar_systems]
        if heat_pump is not None and heat_pump not in known:
            raise click.UsageError(f"There is no heat pump {heat_pump!r}; there are: {', '.join(known)}.")
        if first and last and first > last:
            raise click.UsageError(f"--from {first:%Y-%m-%d} lies after --to {last:%Y-%m-%d}.")
        return cls(
            workspace,
            first.date() if first else None,
            last.date() if last else None,
            [heat_pump] if heat_pump else known,
            form,
        )

    def keys(self, asset: str, margin: int = 0) -> list[str]:
        """The partitions of an asset that the range needs."""
        low = (self.first - timedelta(days=margin)).isoformat() if self.first else ""
        high = (self.last + timedelta(days=margin)).isoformat() if self.last else "9"
        return [key for key in self.workspace.lake.keys(asset) if low <= key <= high]

    def within(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Rows that begin on a local day of the range."""
        import polars as pl

        from hp_pipeline.transforms.calendar import day_start

        zone = self.workspace.settings.site.time_zone
        if self.first:
            rows = rows.filter(pl.col("start") >= day_start(self.first, zone))
        if self.last:
            rows = rows.filter(pl.col("start") < day_start(self.last + timedelta(days=1), zone))
        return rows.sort("start")

    def table(self, table: str, margin: int = 1) -> pl.DataFrame:
        """Rows of a table in the range, of the heat pumps asked for."""
        import polars as pl

        from hp_pipeline.transforms.schema import conform

        parts = []
        for pump in self.heat_pumps:
            asset = f"{table}/{pump}"
            parts.append(self.within(conform(self.workspace.lake.read(asset, self.keys(asset, margin)), table)))
        return pl.concat(parts)

    def show(self, rows: pl.DataFrame, view: Sequence[str], title: str) -> None:
        """Print the rows in the form asked for."""
        from hp_pipeline.outputs.summary import as_csv, as_json, text_table

        if self.form == "json":
            click.echo(as_json(rows))
        elif self.form == "csv":
            click.echo(as_csv(rows), nl=False)
        elif rows.is_empty():
            click.echo("Nothing is stored for that. `hp-pipeline materialize` brings everything up to date.")
        else:
            click.echo(text_table(rows, view, self.workspace.settings.site.time_zone, title, terminal_width()))


@click.group(invoke_without_command=True)
@ranged
@click.option("--by", type=click.Choice(GROUPINGS), default="month", show_default=True, help="What a row is.")
@click.option("--filled", is_flag=True, help="With what nobody measured filled in, and how (with --by day).")
@click.pass_context
def summary(context: click.Context, /, by: Grouping, filled: bool, **options: Any) -> None:
    """Energies and COPs: all, by year, heating season, month, week, day, hour, session or cycle.

    \b
    hp-pipeline summary --by season
    hp-pipeline summary --by session --from 2026-01-10 --to 2026-01-12
    hp-pipeline summary --by day --format csv > days.csv
    """
    if context.invoked_subcommand is not None:
        return
    from hp_pipeline.outputs.summary import CYCLE_VIEW, FILLED_VIEW, PERIOD_VIEW, SESSION_VIEW

    if filled and by != "day":
        raise click.UsageError("--filled goes with --by day.")
    shown = Shown.of(**options)
    if filled:
        # A file holds a month of days.
        shown.show(shown.table("filled_daily", 32), FILLED_VIEW, "By day, what nobody measured filled in")
        return
    if by in {"hour", "session", "cycle"}:
        table, view = {
            "hour": ("hourly", PERIOD_VIEW),
            "session": ("sessions", SESSION_VIEW),
            "cycle": ("cycles", CYCLE_VIEW),
        }[by]
        shown.show(shown.table(table), view, f"By {by}")
        return
    shown.show(_grouped(shown, by), PERIOD_VIEW, "All of it" if by == "all" else f"By {by}")


def _grouped(shown: Shown, by: str) -> pl.DataFrame:
    """Days (or whole months, where no range cuts them) merged as asked."""
    import polars as pl

    from hp_pipeline.assets.stages import DailyStage
    from hp_pipeline.transforms.periods import regrouped

    below = "monthly" if by in {"all", "year", "season", "month"} and not (shown.first or shown.last) else "daily"
    site = shown.workspace.settings.site
    parts = []
    rows = shown.table(below)
    for pump in shown.heat_pumps:
        plant = shown.workspace.plant(pump)
        own = rows.filter(pl.col("heat_pump") == pump)
        known = DailyStage(plant).known
        parts.append(
            regrouped(own, by, below, site.time_zone, plant.rules, known, site.heating_season_starts)  # type: ignore[arg-type]
        )
    return pl.concat(parts)


@click.command(name="heating-by-temperature")
@ranged
@click.option("--width", default=1.0, show_default=True, type=click.FloatRange(0.1, 20), help="Width of a bin, K.")
def heating_by_temperature(width: float, **options: Any) -> None:
    """Heating in bins of the outdoor temperature: hours, electricity, heat, COP and mean flow temperature."""
    import polars as pl

    from hp_pipeline.outputs.summary import TEMPERATURE_VIEW
    from hp_pipeline.transforms.schema import conform
    from hp_pipeline.transforms.temperature import bins_of, merged_bins

    shown = Shown.of(**options)
    tables = []
    for pump in shown.heat_pumps:
        parts = []
        for key in shown.keys(f"frames/{pump}", 1):
            frames = shown.within(conform(shown.workspace.lake.read(f"frames/{pump}", [key]), "frames"))
            modes = conform(shown.workspace.lake.read(f"operation/{pump}", [key]), "operation")
            parts.append(bins_of(frames, modes, width))
        if parts:
            rows = merged_bins(parts, shown.workspace.plant(pump).rules, width)
            tables.append(rows.select(pl.lit(pump).alias("heat_pump"), pl.all()))
    empty = pl.DataFrame(schema={"heat_pump": pl.String()})
    shown.show(pl.concat(tables) if tables else empty, TEMPERATURE_VIEW, "Heating by outdoor temperature")


@click.command()
@ranged
def cycles(**options: Any) -> None:
    """Compressor cycles of heating: when, how long, and how the flow stood to its set-point at the end."""
    import polars as pl

    from hp_pipeline.outputs.summary import CYCLE_VIEW

    shown = Shown.of(**options)
    rows = shown.table("cycles").filter(pl.col("mode") == "heating", pl.col("state") == "on")
    shown.show(rows, CYCLE_VIEW, "Compressor cycles of heating")


@click.command(name="costs")
@ranged
@click.option("--by", type=click.Choice(COST_GROUPINGS), default="month", show_default=True, help="What a row is.")
def costs_command(by: str, **options: Any) -> None:
    """What the electricity cost, and what a kWh of heat did, by the tariffs of the settings; CO2 likewise.

    A row is a whole day, ISO week, month, heating season or year: --from and --to choose those that begin within them.

    \b
    hp-pipeline costs
    hp-pipeline costs --by day --from 2026-01-01 --format csv > costs.csv
    """
    from hp_pipeline.outputs.summary import COST_VIEW

    shown = Shown.of(**options)
    if not shown.workspace.settings.tariffs:
        raise click.ClickException("The settings name no price of electricity: see tariffs in hp.example.yaml.")
    currency = shown.workspace.settings.site.currency
    shown.show(shown.table(f"costs_{_TABLE[by]}"), COST_VIEW, f"Cost in {currency}, by {by}")


@click.command(name="outlook")
@_RANGE[2]
@_RANGE[3]
@places
def outlook_command(settings: str | None, data: str | None, heat_pump: str | None, form: str) -> None:
    """The running year and heating season: JAZ so far, an estimate with its bounds, and the year before.

    The bounds hold the truth in 8 of 10 cases. The year before is compared over the same days, as far as both were
    observed. As JSON or CSV, a row has all of it.
    """
    import polars as pl

    from hp_pipeline.outputs.summary import COMPARISON_VIEW, OUTLOOK_VIEW
    from hp_pipeline.transforms.schema import conform

    shown = Shown.of(settings, data, None, None, heat_pump, form)
    rows = shown.table("outlook")
    newest = []
    for pump in shown.heat_pumps:
        asset = f"comparisons/{pump}"
        newest.append(conform(shown.workspace.lake.read(asset, shown.keys(asset)[-1:]), "comparisons"))
    which = ["heat_pump", "kind", "period"]
    beside = pl.concat(newest).filter(pl.col("against") == "year before")
    beside = beside.select(*which, *(name for name in beside.columns if name not in rows.columns))
    rows = rows.join(beside, on=which, how="left", maintain_order="left")
    shown.show(rows, OUTLOOK_VIEW, "What the running ones come to")
    if form == "text" and not rows.is_empty():
        click.echo()
        shown.show(rows, COMPARISON_VIEW, "So far, and the same days of the year before")


@click.command()
@_RANGE[0]
@_RANGE[1]
@click.option("--by", type=click.Choice(SOLAR_GROUPINGS), default="day", show_default=True, help="What a row is.")
@click.option("--house", is_flag=True, help="With the heat pumps that also heat the tank.")
@_RANGE[3]
@places
def solar(
    settings: str | None,
    data: str | None,
    first: datetime | None,
    last: datetime | None,
    by: str,
    house: bool,
    form: str,
) -> None:
    """Solar heating: what the collector, the immersion heater and the stove gave the tank, and what was drawn."""
    from hp_pipeline.outputs.summary import HOUSE_VIEW, SOLAR_VIEW

    workspace = open_workspace(settings, data)
    whose = [system.id for system in workspace.settings.solar_systems]
    if not whose:
        raise click.ClickException("The settings name no solar heating: see solar_systems in hp.example.yaml.")
    days = [day.date() if day else None for day in (first, last)]
    shown = Shown(workspace, days[0], days[1], whose, form)
    rows = shown.table(f"{'house' if house else 'solar'}_{_TABLE[by]}")
    shown.show(rows, HOUSE_VIEW if house else SOLAR_VIEW, f"The tank, by {by}")


for command in (heating_by_temperature, cycles, solar):
    summary.add_command(command)
