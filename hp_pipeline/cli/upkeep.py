"""Commands that look after what is stored: export, verify, docs."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path

import click

from hp_pipeline.cli.common import DAY, open_workspace, places, progress_bars


@click.command()
@places
@click.option("--day", type=DAY, help="Only this local day and the week it lies in. Default: all there are.")
def export(settings: str | None, data: str | None, day: datetime | None) -> None:
    """Write the daily and weekly CSV files to `exports/` in the data folder."""
    from hp_pipeline.assets.exports import write_daily_csv, write_weekly_csv
    from hp_pipeline.transforms.calendar import first_day

    workspace = open_workspace(settings, data)
    written: list[Path] = []
    problems: list[str] = []
    with progress_bars() as progress:
        for plant in workspace.plants:
            days = (
                [day.date()]
                if day
                else [date.fromisoformat(key) for key in plant.lake.keys(f"{plant.days}/{plant.id}")]
            )
            weeks = sorted({first_day("weekly", one) for one in days})
            for kind, dates, write in (("daily", days, write_daily_csv), ("weekly", weeks, write_weekly_csv)):
                for one in progress.track(dates, description=f"{plant.id}: {kind} CSV"):
                    try:
                        path = write(plant, one)
                        written += [path] if path else []
                    except OSError as error:
                        problems.append(f"{kind} {one}: {error}")
    click.echo(f"{len(written)} files written to {workspace.exports}")
    if problems:
        raise click.ClickException("\n".join(["Some files could not be written, all others were:", *problems]))


@click.command()
@places
def verify(settings: str | None, data: str | None) -> None:
    """Read every stored partition whole and compare it with its checksum."""
    from hp_pipeline.lake import DamagedPartitionError

    workspace = open_workspace(settings, data)
    damaged: dict[Path, str] = {}
    parts = [(asset, key) for asset in workspace.lake.assets() for key in workspace.lake.keys(asset)]
    with progress_bars() as progress:
        for asset, key in progress.track(parts, description="verifying"):
            try:
                workspace.lake.verify(asset, key)
            except DamagedPartitionError as error:
                damaged.setdefault(error.path, str(error))
    if damaged:
        raise click.ClickException("\n".join(damaged.values()))
    click.echo(f"{len(parts)} partitions are as they were written.")


@click.command()
@click.option("--check", "only_check", is_flag=True, help="Write nothing; fail when a page is not what the code says.")
@click.option("--folder", default="docs", show_default=True, type=click.Path(file_okay=False, path_type=Path))
def docs(only_check: bool, folder: Path) -> None:
    """Write the pages of `docs/` that are made from the code: the data dictionary, and what the figures mean."""
    from hp_pipeline.outputs.dictionary import data_dictionary
    from hp_pipeline.outputs.figures_page import figures_page

    folder.mkdir(parents=True, exist_ok=True)
    for path, text in (
        (folder / "data_dictionary.md", data_dictionary()),
        (folder / "figures.md", figures_page()),
    ):
        if not only_check:
            path.write_text(text, encoding="utf-8")
            click.echo(f"Written: {path}")
        elif path.exists() and path.read_text(encoding="utf-8") == text:
            click.echo(f"{path} is what the code says.")
        else:
            raise click.ClickException(f"{path} is not what the code says. Write it anew: hp-pipeline docs")
