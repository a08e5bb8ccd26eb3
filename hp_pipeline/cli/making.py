"""The command that brings all tables up to date without any service: materialize."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click
from rich.markup import escape

from hp_pipeline.cli.common import DAY, open_workspace, places, progress_bars, tell_dagster

if TYPE_CHECKING:
    from hp_pipeline.assets.stages import Stage
    from hp_pipeline.assets.workspace import Workspace
    from hp_pipeline.lake import Receipt


@click.command()
@places
@click.option("--from", "first", type=DAY, help="First day whose readings matter (UTC). Default: the first there is.")
@click.option("--to", "last", type=DAY, help="Last day, inclusive. Default: the last there is.")
@click.option("--asset", "asset", help="Only this table (such as sessions), or one plant's part of it (sessions/ID).")
@click.option("--force", is_flag=True, help="Make what is up to date again, too.")
def materialize(
    settings: str | None,
    data: str | None,
    first: datetime | None,
    last: datetime | None,
    asset: str | None,
    force: bool,
) -> None:
    """Bring everything that is due up to date, in this process: archives are asked, then all tables are made.

    What is up to date costs next to nothing, so this may run as often as you like, beside the services or without them.
    """
    from hp_pipeline.assets.stages import in_rounds, tables_of

    workspace = open_workspace(settings, data)
    if first and last and first > last:
        raise click.UsageError(f"--from {first:%Y-%m-%d} lies after --to {last:%Y-%m-%d}.")
    table, _, whose = (asset or "").partition("/")
    known = list(dict.fromkeys(name for plant in workspace.plants for name in tables_of(plant)))
    if table and table not in [*known, "readings"]:
        raise click.UsageError(f"There is no asset {asset!r}; there are: readings, {', '.join(known)}.")
    owners = [part.id for part in (workspace.settings.sources if table == "readings" else workspace.plants)]
    if whose and whose not in owners:
        kind = "source" if table == "readings" else "plant"
        raise click.UsageError(f"There is no {kind} {whose!r}; there are: {', '.join(owners)}.")
    low = first.date() if first else date.min if last else None
    high = last.date() if last else date.max if first else None
    problems: list[str] = []
    stored: dict[tuple[str, str], Receipt] = {}
    with progress_bars() as progress:
        if table in {"", "readings"}:
            problems += _pull_archives(workspace, first, last, whose, progress, stored)
            problems += _bring_landed(workspace, first, whose, progress, stored)
        chosen = [] if table == "readings" else [plant for plant in workspace.plants if whose in {"", plant.id}]
        for _, steps in in_rounds(chosen):
            for stage in steps:
                if not table or table in stage.tables:
                    problems += _bring_up_to_date(stage, _clamped(low), _clamped(high), force, progress, stored)
    workspace.publish()
    tell_dagster(workspace, stored)
    click.echo(f"{len(stored)} partitions made; everything else was up to date.")
    if problems:
        raise click.ClickException("\n".join(["Some things could not be done, all others were:", *problems]))


def _clamped(day: date | None) -> date | None:
    """A day that can still be moved by some days."""
    return None if day is None else max(date(1900, 1, 1), min(day, date(2999, 12, 31)))


def _bring_up_to_date(
    stage: Stage,
    first: date | None,
    last: date | None,
    force: bool,
    progress: Any,
    stored: dict[tuple[str, str], Receipt],
) -> list[str]:
    keys = stage.keys(first, last)
    task = progress.add_task(f"{stage.plant.id}: {stage.tables[0]}", total=len(keys))
    outcome = stage.bring_up_to_date(keys, force=force, progress=lambda count: progress.advance(task, count))
    for table, parts in outcome.stored.items():
        stored |= {(stage.asset(table), key): receipt for key, receipt in parts.items()}
    return [f"{stage.asset(stage.tables[0])} {key}: {error}" for key, error in outcome.failed.items()]


def _pull_archives(
    workspace: Workspace,
    first: datetime | None,
    last: datetime | None,
    only: str,
    progress: Any,
    stored: dict[tuple[str, str], Receipt],
) -> list[str]:
    """Ask every archive for the days wanted, or else for what is newer than what is stored."""
    from hp_pipeline.assets.readings import newest_reading, pull
    from hp_pipeline.settings import InfluxdbSource
    from hp_pipeline.sources.errors import SourceError
    from hp_pipeline.sources.readings import Rejects

    problems = []
    for source in workspace.settings.sources:
        if not isinstance(source, InfluxdbSource) or only not in {"", source.id}:
            continue
        now = datetime.now(UTC)
        begin = datetime.combine(workspace.settings.site.start, datetime.min.time(), UTC)
        newest = newest_reading(workspace, source.id)
        start = first.replace(tzinfo=UTC) if first else newest - source.overlap if newest else begin
        stop = min(last.replace(tzinfo=UTC) + timedelta(days=1), now) if last else now
        start = max(start, begin)
        days = max((stop - start).days + 1, 1)
        task = progress.add_task(f"{source.id}: readings", total=days)
        try:
            for day in range(days):
                rejects = Rejects()
                ends = min(start + timedelta(days=day + 1), stop)
                for changed in pull(workspace, source, start + timedelta(days=day), ends, rejects):
                    stored |= {(f"readings/{source.id}", key): receipt for key, receipt in changed.items()}
                if rejects:
                    progress.console.print(escape(f"{source.id}: {rejects.summary()}"), highlight=False)
                progress.advance(task)
        except (SourceError, OSError) as error:
            problems.append(str(error))
    return problems


def _bring_landed(
    workspace: Workspace,
    first: datetime | None,
    only: str,
    progress: Any,
    stored: dict[tuple[str, str], Receipt],
) -> list[str]:
    """Bring what live sources told from the landing; from the first day wanted on also what was brought before."""
    from hp_pipeline.assets.landed import bring, live_sources
    from hp_pipeline.landing.store import LandingError

    problems = []
    for source in live_sources(workspace):
        if only not in {"", source.id}:
            continue
        task = progress.add_task(f"{source.id}: readings", total=1)
        try:
            brought = bring(workspace, source.id, first.date() if first else None)
        except (LandingError, OSError) as error:
            problems.append(str(error))
            continue
        stored |= {(f"readings/{source.id}", key): receipt for key, receipt in brought.changed.items()}
        progress.advance(task)
    return problems
