"""The commands: `hp-pipeline --help` teaches them.

Everything heavy is imported where it is used, so that `--help` and small commands answer at once.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click
from rich.console import Console
from rich.markup import escape

if TYPE_CHECKING:
    import polars as pl

    from hp_pipeline.assets.stages import Stage
    from hp_pipeline.assets.workspace import Workspace
    from hp_pipeline.lake import Receipt
    from hp_pipeline.services.supervisor import Service

DEMO_DAYS = 60
DEMO_FOLDER = "demo"

err = Console(stderr=True, soft_wrap=True)

Command = Callable[..., Any]
Grouping = Literal["all", "year", "season", "month", "week", "day", "hour", "session", "cycle"]
GROUPINGS = ("all", "year", "season", "month", "week", "day", "hour", "session", "cycle")


def places(command: Command) -> Command:
    """The options that say where the settings and the data are."""
    command = click.option(
        "--data",
        "data",
        metavar="DIR",
        help="Data folder. Default: $HP_DATA, else ./data (of the demo house, data/demo).",
    )(command)
    return click.option(
        "--settings", "settings", metavar="FILE", help="Settings file. Default: $HP_SETTINGS, else ./hp.yaml."
    )(command)


@dataclass(frozen=True)
class Places:
    """Where settings and data are; without a settings file they are the demo house's."""

    settings: Path
    data: Path
    is_demo: bool


def locate(settings: str | None, data: str | None) -> Places:
    """Find settings and data folder as the options, the environment and the working directory say."""
    from hp_pipeline.settings import data_dir, settings_path

    path, folder = settings_path(settings), data_dir(data)
    if path is not None:
        return Places(path, folder, False)
    demo = folder / DEMO_FOLDER
    return Places(demo / "hp.yaml", demo, True)


def open_workspace(settings: str | None, data: str | None) -> Workspace:
    """The workspace that a command works on.

    Raises:
        click.ClickException: there are no settings, or they have mistakes.
    """
    from hp_pipeline.assets.workspace import Workspace
    from hp_pipeline.settings import SettingsError, load_settings

    found = locate(settings, data)
    if found.is_demo and not found.settings.exists():
        raise click.ClickException(
            "There is no settings file. Copy hp.example.yaml to hp.yaml and write your own, name one with --settings, "
            "or start the demo house with `hp-pipeline run`."
        )
    if found.is_demo:
        err.print("[dim]No hp.yaml here: this is the demo house.[/dim]")
    try:
        return Workspace(load_settings(found.settings), found.data)
    except SettingsError as error:
        raise click.ClickException(str(error)) from None


class _Commands(click.Group):
    """Says in a sentence what keeps a command from being done: such errors name the thing, the place, the remedy."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except Exception as error:
            if _is_for_owners(error):
                raise click.ClickException(str(error)) from error
            raise


def _is_for_owners(error: Exception) -> bool:
    from hp_pipeline.assets.readings import NotStoredError
    from hp_pipeline.lake import DamagedPartitionError, StorageError
    from hp_pipeline.sources.errors import SourceError

    return isinstance(error, DamagedPartitionError | StorageError | SourceError | NotStoredError | PermissionError)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="hp_pipeline", prog_name="hp-pipeline")
def cli() -> None:
    """Readings of heat pumps and meters become sessions, energies, COP and JAZ.

    \b
    First steps:
      hp-pipeline run                     the pages at http://127.0.0.1:3000; without hp.yaml a demo house
      hp-pipeline check                   is hp.yaml right? every mistake with its line
      hp-pipeline probe influxdb          what your InfluxDB holds, and what is found of it
      hp-pipeline import old.csv --source ID
      hp-pipeline materialize             bring all tables up to date, without any service
      hp-pipeline summary --by month
      hp-pipeline sql "SELECT period, cop FROM monthly"
    """


@cli.command()
@places
@click.option("--port", default=3000, show_default=True, help="Port of the pages, on 127.0.0.1 only.")
@click.option("--days", default=DEMO_DAYS, show_default=True, help="Days of the demo house's past (without settings).")
@click.option("--collector/--no-collector", default=True, show_default=True, help="Ask the live sources, too.")
def run(settings: str | None, data: str | None, port: int, days: int, collector: bool) -> None:
    """Start everything: code server, pages, daemon and, for live sources, the collector, until Ctrl-C.

    Without a settings file the demo house is shown: a simulated heat pump whose readings are written to files, taken
    in, and turned into figures before your eyes.
    """
    from hp_pipeline.services.supervisor import run_services

    found = locate(settings, data)
    if found.is_demo:
        _prepare_demo(found, days)
    workspace = open_workspace(str(found.settings), str(found.data))
    workspace.publish()
    err.print(f"Settings: {found.settings}   Data: {found.data}", highlight=False)
    extra = _collector_service(workspace, found) if collector else []
    sys.exit(run_services(found.data, found.settings, port=port, extra=extra))


def _collector_service(workspace: Workspace, found: Places) -> list[Service]:
    """The collector, for a house with live sources."""
    from hp_pipeline.landing.health import ask
    from hp_pipeline.services.supervisor import Service
    from hp_pipeline.sources.registry import is_live

    if not any(is_live(source) for source in workspace.settings.sources):
        return []
    places = ("--settings", str(found.settings.resolve()), "--data", str(found.data.resolve()))

    def ready() -> str | None:
        return None if ask(found.data) is not None else "no health answer"

    return [Service("collector", (sys.executable, "-m", "hp_pipeline.cli", "collect", *places), ready)]


@cli.command()
@places
@click.option("--port", default=3020, show_default=True, help="Port of the health answer, on 127.0.0.1 only; 0: any.")
def collect(settings: str | None, data: str | None, port: int) -> None:
    """Ask the live sources of the settings, and listen to them, until Ctrl-C. `run` does this, too.

    What they tell is written to the landing at once, durably; `run` (or `materialize`) brings it to the tables. A
    changed settings file, or SIGHUP, changes only what was changed. `status` shows how it does.
    """
    import logging

    from hp_pipeline.landing.service import collector_of, run_collector
    from hp_pipeline.settings import SettingsError

    found = locate(settings, data)
    if not found.settings.exists():
        raise click.ClickException("There are no settings to collect by: name them with --settings, or write hp.yaml.")
    # Libraries say each request, some with what is secret in its address: of theirs only what is wrong is of interest.
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr, level=logging.WARNING)
    logging.getLogger("hp_pipeline").setLevel(logging.INFO)
    try:
        service = collector_of(found.settings, found.data, port)
    except SettingsError as error:
        raise click.ClickException(str(error)) from None
    sys.exit(run_collector(service))


@cli.command()
@places
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
def status(settings: str | None, data: str | None, form: str) -> None:
    """How the collector does: of each live source the last good poll, its age, the error, what is left of a budget.

    Ends with code 1 when something needs attention.
    """
    import json

    from hp_pipeline.landing.health import ask

    answer = ask(locate(settings, data).data)
    if answer is None:
        raise click.ClickException("No collector answers on this data folder: start `hp-pipeline collect` or `run`.")
    if form == "json":
        click.echo(json.dumps(answer, indent=1, ensure_ascii=False))
    else:
        _show_status(answer)
    sys.exit(0 if answer["ok"] else 1)


def _show_status(answer: dict[str, Any]) -> None:
    from rich.table import Table

    table = Table("source", "kind", "state", "last good", "polls", "missed", "late p99", "budget left", box=None)
    for source in answer["sources"]:
        age = "never" if source["age_s"] is None else f"{source['age_s']:.0f} s ago"
        late = f"{source['late_ms']['p99']:.0f} ms" if source["late_ms"] else ""
        left = ", ".join(f"{budget['left']} ({budget['window']})" for budget in source["budget"])
        good, tries = source["outcomes"].get("ok", 0), sum(source["outcomes"].values())
        polls = f"{good} of {tries}"
        cells = (source["id"], source["kind"], source["state"], age, polls, str(source["missed"]), late, left)
        table.add_row(*map(escape, cells))
    Console(soft_wrap=True).print(table)
    for source in answer["sources"]:
        if source["error"]:
            click.echo(f"{source['id']}: {source['outcome']}: {source['error']}. {source['remedy'] or ''}".rstrip())
    for problem in answer["problems"]:
        click.echo(problem)


@cli.command()
@places
@click.option("--days", default=DEMO_DAYS, show_default=True, help="Days of the past.")
def demo(settings: str | None, data: str | None, days: int) -> None:
    """Write the demo house's settings and readings, and start nothing.

    Afterwards every other command works on it, as long as there is no hp.yaml.
    """
    found = locate(None, data)
    if not found.is_demo or settings is not None:
        raise click.ClickException("The demo house is for a folder without hp.yaml; there is one here.")
    _prepare_demo(found, days)


def _prepare_demo(found: Places, days: int) -> None:
    from hp_pipeline.simulation.demo import demo_settings, write_demo

    if found.settings.exists():
        return
    with err.status(f"Simulating {days} days of the demo house …"):
        end = datetime.now(UTC)
        written = write_demo(found.data / "drop" / "demo_house", days, end=end)
        # The settings come last: where they are, the readings are whole.
        found.settings.parent.mkdir(parents=True, exist_ok=True)
        found.settings.write_text(demo_settings((end - timedelta(days=days)).date()), encoding="utf-8")
    err.print(f"The demo house: {days} days, {written.rows:,} readings in {len(written.files)} files.")


@cli.command()
@places
def check(settings: str | None, data: str | None) -> None:
    """Check the settings file: every mistake at once, with line, key, what was found and what is allowed."""
    from hp_pipeline.settings import check_settings, format_mistakes, load_settings

    found = locate(settings, data)
    if found.is_demo and not found.settings.exists():
        raise click.ClickException("There is no settings file to check: name one with --settings, or write hp.yaml.")
    mistakes = check_settings(found.settings)
    if mistakes:
        click.echo(format_mistakes(mistakes))
        raise SystemExit(1)
    loaded = load_settings(found.settings)
    pumps, sources = (", ".join(part.id for part in parts) for parts in (loaded.heat_pumps, loaded.sources))
    click.echo(f"{found.settings} is right. Heat pumps: {pumps}. Sources: {sources}.")


@cli.command()
@click.argument("kind", type=click.Choice(["influxdb"]))
@places
@click.option("--source", "source_id", help="Id of the source, where there are several of the kind.")
@click.option("--days", default=7, show_default=True, help="How far back to look for series.")
def probe(kind: str, settings: str | None, data: str | None, source_id: str | None, days: int) -> None:
    """Ask a source what it holds: series, last values, what profiles find, and names near to what they miss."""
    from hp_pipeline.settings import InfluxdbSource
    from hp_pipeline.sources.errors import SourceError
    from hp_pipeline.sources.probe import format_probe, probe_influxdb

    workspace = open_workspace(settings, data)
    sources = [
        source
        for source in workspace.settings.sources
        if isinstance(source, InfluxdbSource) and source_id in {None, source.id}
    ]
    if not sources:
        raise click.ClickException(
            f"There is no {kind} source{f' {source_id!r}' if source_id else ''} in the settings."
        )
    now = datetime.now(UTC)
    for source in sources:
        profiles = [workspace.settings.profile_of(entry) for _, entry in workspace.settings.inputs_of(source.id)]
        mappings = [mapping for profile in profiles for mapping in profile.mappings.values()]
        try:
            click.echo(format_probe(probe_influxdb(source, mappings, start=now - timedelta(days=days), stop=now)))
        except SourceError as error:
            raise click.ClickException(str(error)) from None


@cli.command(name="import")
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@places
@click.option("--source", "source_id", required=True, help="Id of a source of kind `files`.")
@click.option("--move/--keep", default=False, show_default=True, help="Move the files to the archive, or leave them.")
def import_files(files: tuple[Path, ...], settings: str | None, data: str | None, source_id: str, move: bool) -> None:
    """Take FILES into a source of kind `files`.

    A content is taken in once; repeated and overlapping files change nothing. A file with bad rows is refused with a
    report that names line and reason, unless the source says `keep_good_rows: true`.
    """
    from hp_pipeline.assets.readings import NotStoredError, describe_taken, take_in_files
    from hp_pipeline.settings import FilesSource

    workspace = open_workspace(settings, data)
    try:
        source = workspace.settings.source(source_id)
    except LookupError as error:
        raise click.ClickException(str(error)) from None
    if not isinstance(source, FilesSource):
        raise click.ClickException(f"{source_id} is of kind {source.kind}: only a source of kind files takes files.")
    refused = 0
    stored: dict[tuple[str, str], Receipt] = {}
    problems = []
    with _progress() as progress:
        task = progress.add_task("taking in", total=len(files))
        try:
            for taken, changed in take_in_files(workspace, source, list(files), datetime.now(UTC), move=move):
                refused += taken.outcome == "quarantined"
                stored |= {(f"readings/{source_id}", key): receipt for key, receipt in changed.items()}
                progress.console.print(escape(describe_taken(taken)), highlight=False)
                progress.advance(task)
        except NotStoredError as error:
            problems.append(str(error))
    workspace.publish()
    _tell_dagster(workspace, stored)
    click.echo(f"{len(stored)} days of readings changed. Next: hp-pipeline materialize")
    if refused:
        problems.append(f"{refused} of {len(files)} files were refused; all others were taken in.")
    if problems:
        raise click.ClickException("\n".join(problems))


def _progress() -> Any:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    return Progress(
        TextColumn("{task.description:<28}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=err
    )


_DAY = click.DateTime(["%Y-%m-%d"])


@cli.command()
@places
@click.option("--from", "first", type=_DAY, help="First day whose readings matter (UTC). Default: the first there is.")
@click.option("--to", "last", type=_DAY, help="Last day, inclusive. Default: the last there is.")
@click.option("--asset", "asset", help="Only this table (such as sessions), or a heat pump's part of it (sessions/ID).")
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
    from hp_pipeline.assets.stages import STAGES, stages

    workspace = open_workspace(settings, data)
    if first and last and first > last:
        raise click.UsageError(f"--from {first:%Y-%m-%d} lies after --to {last:%Y-%m-%d}.")
    table, _, whose = (asset or "").partition("/")
    known = [name for stage in STAGES for name in stage.tables]
    if table and table not in [*known, "readings"]:
        raise click.UsageError(f"There is no asset {asset!r}; there are: readings, {', '.join(known)}.")
    owners = [
        part.id for part in (workspace.settings.sources if table == "readings" else workspace.settings.heat_pumps)
    ]
    if whose and whose not in owners:
        kind = "source" if table == "readings" else "heat pump"
        raise click.UsageError(f"There is no {kind} {whose!r}; there are: {', '.join(owners)}.")
    low = first.date() if first else date.min if last else None
    high = last.date() if last else date.max if first else None
    problems: list[str] = []
    stored: dict[tuple[str, str], Receipt] = {}
    with _progress() as progress:
        if table in {"", "readings"}:
            problems += _pull_archives(workspace, first, last, whose, progress, stored)
            problems += _bring_landed(workspace, first, whose, progress, stored)
        for heat_pump in workspace.settings.heat_pumps:
            if table == "readings" or (whose and whose != heat_pump.id):
                continue
            for stage in stages(workspace.plant(heat_pump.id)):
                if not table or table in stage.tables:
                    problems += _bring_up_to_date(stage, _clamped(low), _clamped(high), force, progress, stored)
    workspace.publish()
    _tell_dagster(workspace, stored)
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


def _tell_dagster(workspace: Workspace, stored: dict[tuple[str, str], Receipt]) -> None:
    """Let the pages know what was made here, where there is a Dagster instance in the data folder."""
    from hp_pipeline.services.environment import dagster_home

    if not stored or not (dagster_home(workspace.data) / "dagster.yaml").exists():
        return
    import dagster as dg

    from hp_pipeline.assets.describe import asset_key
    from hp_pipeline.services.instance import open_instance
    from hp_pipeline.vocabulary.tables import tables

    with open_instance(workspace.data) as instance, _progress() as progress:
        for (asset, key), receipt in progress.track(stored.items(), description="telling Dagster"):
            table = tables()[asset.partition("/")[0]]
            instance.report_runless_asset_event(
                dg.AssetMaterialization(
                    asset_key(*asset.split("/")),
                    partition=key if table.partitions == "days" else None,
                    metadata={"dagster/partition_row_count": receipt.rows, "content": receipt.content},
                )
            )


@cli.command()
@click.argument("query", required=False)
@places
@click.option("--format", "form", type=click.Choice(["table", "json", "csv"]), default="table", show_default=True)
def sql(query: str | None, settings: str | None, data: str | None, form: str) -> None:
    """Ask the tables in SQL (DuckDB); without QUERY, interactively.

    \b
    hp-pipeline sql "SELECT start, mode, cop FROM sessions ORDER BY start DESC LIMIT 10"
    hp-pipeline sql "SHOW TABLES"
    hp-pipeline sql "SELECT column_name, comment FROM duckdb_columns() WHERE table_name = 'daily'"
    """
    import duckdb

    workspace = open_workspace(settings, data)
    workspace.publish()
    connection = duckdb.connect(str(workspace.database), read_only=True)
    connection.execute("SET TimeZone = ?", [workspace.settings.site.time_zone])
    if query is not None:
        try:
            _answer(connection, query, form)
        except duckdb.Error as error:
            raise click.ClickException(str(error)) from None
        return
    interactive = sys.stdin.isatty()
    if interactive:
        click.echo(f"{workspace.database} (read only). End a query with ; and leave with Ctrl-D. Try SHOW TABLES;")
    failed = False
    for statement in _statements(interactive):
        try:
            _answer(connection, statement, form)
        except duckdb.Error as error:
            failed = True
            err.print(f"[red]{escape(str(error))}[/red]", highlight=False)
    if failed and not interactive:
        raise SystemExit(1)


def _statements(interactive: bool) -> Iterator[str]:
    """Statements as they are typed or piped in, each up to its semicolon; the last one needs none."""
    if interactive:
        import readline  # noqa: F401 - gives input() a history and a movable cursor
    lines: list[str] = []
    while True:
        prompt = ("..> " if lines else "hp> ") if interactive else ""
        try:
            lines.append(input(prompt))
            is_last = False
        except KeyboardInterrupt:  # what was typed so far is given up, as in a shell
            click.echo()
            lines = []
            continue
        except EOFError:
            is_last = True
        text = "\n".join(lines).strip()
        if is_last or text.endswith(";") or text == "":
            lines = []
            if text.strip(";").strip():
                yield text
        if is_last:
            if interactive:
                click.echo()
            return


def _answer(connection: Any, query: str, form: str) -> None:
    relation = connection.sql(query)
    if relation is None:
        return
    if form == "table":
        width = _terminal_width()
        relation.show(max_width=width or 100_000, max_rows=10_000, max_col_width=100_000 if width is None else width)
        return
    from hp_pipeline.outputs.summary import as_csv, as_json

    rows = _rows(relation)
    click.echo(as_json(rows) if form == "json" else as_csv(rows), nl=form == "json")


def _rows(relation: Any) -> pl.DataFrame:
    """The answer to a query, also when columns have the same name or are intervals, which polars does not know."""
    import polars as pl
    import pyarrow as pa

    table = relation.to_arrow_table()
    names: list[str] = []
    for name in table.column_names:
        names.append(name if name not in names else f"{name}_{len(names) + 1}")
    columns = []
    for column in table.columns:
        if pa.types.is_interval(column.type):
            told = [
                None if span is None else f"{span.months} months {span.days} days {span.nanoseconds / 1e9:g} s"
                for span in column.to_pylist()
            ]
            columns.append(pa.chunked_array([pa.array(told, pa.string())]))
        else:
            columns.append(column)
    return pl.DataFrame(pa.table(columns, names=names))


def _terminal_width() -> int | None:
    """Columns of the terminal; None where the output goes to a file or another program."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


_RANGE = (
    click.option("--from", "first", type=_DAY, help="First local day. Default: the first there is."),
    click.option("--to", "last", type=_DAY, help="Last local day, inclusive. Default: the last there is."),
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
    ) -> Shown:
        """From the options as click gives them."""
        workspace = open_workspace(settings, data)
        known = [pump.id for pump in workspace.settings.heat_pumps]
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
            click.echo(text_table(rows, view, self.workspace.settings.site.time_zone, title, _terminal_width()))


@cli.group(invoke_without_command=True)
@ranged
@click.option("--by", type=click.Choice(GROUPINGS), default="month", show_default=True, help="What a row is.")
@click.pass_context
def summary(context: click.Context, /, by: Grouping, **options: Any) -> None:
    """Energies and COPs: all, by year, heating season, month, week, day, hour, session or cycle.

    \b
    hp-pipeline summary --by season
    hp-pipeline summary --by session --from 2026-01-10 --to 2026-01-12
    hp-pipeline summary --by day --format csv > days.csv
    """
    if context.invoked_subcommand is not None:
        return
    from hp_pipeline.outputs.summary import CYCLE_VIEW, PERIOD_VIEW, SESSION_VIEW

    shown = Shown.of(**options)
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
    zone = shown.workspace.settings.site.time_zone
    parts = []
    rows = shown.table(below)
    for pump in shown.heat_pumps:
        plant = shown.workspace.plant(pump)
        own = rows.filter(pl.col("heat_pump") == pump)
        parts.append(regrouped(own, by, below, zone, plant.rules, DailyStage(plant).known))  # type: ignore[arg-type]
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


for command in (heating_by_temperature, cycles):
    cli.add_command(command)
    summary.add_command(command)


@cli.command()
@places
@click.option("--day", type=_DAY, help="Only this local day and the week it lies in. Default: all there are.")
def export(settings: str | None, data: str | None, day: datetime | None) -> None:
    """Write the daily and weekly CSV files to `exports/` in the data folder."""
    from hp_pipeline.assets.exports import write_daily_csv, write_weekly_csv
    from hp_pipeline.transforms.calendar import first_day

    workspace = open_workspace(settings, data)
    written: list[Path] = []
    problems: list[str] = []
    with _progress() as progress:
        for heat_pump in workspace.settings.heat_pumps:
            plant = workspace.plant(heat_pump.id)
            days = [day.date()] if day else [date.fromisoformat(key) for key in plant.lake.keys(f"daily/{plant.id}")]
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


@cli.command()
@places
def verify(settings: str | None, data: str | None) -> None:
    """Read every stored partition whole and compare it with its checksum."""
    from hp_pipeline.lake import DamagedPartitionError

    workspace = open_workspace(settings, data)
    damaged = []
    parts = [(asset, key) for asset in workspace.lake.assets() for key in workspace.lake.keys(asset)]
    with _progress() as progress:
        for asset, key in progress.track(parts, description="verifying"):
            try:
                workspace.lake.verify(asset, key)
            except DamagedPartitionError as error:
                damaged.append(str(error))
    if damaged:
        raise click.ClickException("\n".join(damaged))
    click.echo(f"{len(parts)} partitions are as they were written.")


@cli.command()
@click.option("--check", "only_check", is_flag=True, help="Write nothing; fail when a page is not what the code says.")
@click.option("--folder", default="docs", show_default=True, type=click.Path(file_okay=False, path_type=Path))
def docs(only_check: bool, folder: Path) -> None:
    """Write the pages of `docs/` that are made from the code (the data dictionary)."""
    from hp_pipeline.outputs.dictionary import data_dictionary

    path, text = folder / "data_dictionary.md", data_dictionary()
    if only_check:
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            raise click.ClickException(f"{path} is not what the code says. Write it anew: hp-pipeline docs")
        click.echo(f"{path} is what the code says.")
        return
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    click.echo(f"Written: {path}")


def main() -> None:
    """Entry point of `hp-pipeline`."""
    cli(prog_name="hp-pipeline")


if __name__ == "__main__":
    main()
