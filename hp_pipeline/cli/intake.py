"""The commands that take in what was recorded before: import."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.markup import escape

from hp_pipeline.cli.common import locate, open_workspace, places, progress_bars, tell_dagster

if TYPE_CHECKING:
    from hp_pipeline.lake import Receipt


class _FilesByDefault(click.Group):
    """`import old.csv …` is `import files old.csv …`: what is no name of a command is a file."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in {*self.commands, *ctx.help_option_names}:
            args = ["files", *args]
        return super().parse_args(ctx, args)


@click.group(name="import", cls=_FilesByDefault)
def import_group() -> None:
    """Take in what was recorded before: files, dumps and caches of devices, settings of other programs.

    \b
    hp-pipeline import old.csv --source old_files            the same as `import files`
    hp-pipeline import luxtronik cache.db --source controller
    hp-pipeline import hpmanager config/ --to maps
    """


@import_group.command(name="files")
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
    with progress_bars() as progress:
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
    tell_dagster(workspace, stored)
    click.echo(f"{len(stored)} days of readings changed. Next: hp-pipeline materialize")
    if refused:
        problems.append(f"{refused} of {len(files)} files were refused; all others were taken in.")
    if problems:
        raise click.ClickException("\n".join(problems))


_MOMENT = click.DateTime(["%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"])


@import_group.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@places
@click.option("--source", "source_id", required=True, help="Id of the source of kind `luxtronik` that they are of.")
@click.option("--time", type=_MOMENT, help="When dumps were made (UTC), where the controller's clock was wrong.")
@click.option("--time-zone", help="Time zone of the machine that recorded. Default: the site's.")
def luxtronik(
    files: tuple[Path, ...],
    settings: str | None,
    data: str | None,
    source_id: str,
    time: datetime | None,
    time_zone: str | None,
) -> None:
    """Recordings of a Luxtronik controller, into the readings of its source; repeating it changes nothing.

    FILES are dumps (a folder with the raw answers 3003, 3004 and 3005, JSON with them, or the text of the package
    luxtronik's dump script) and the SQLite cache of luxtronik-logger.
    """
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    from hp_pipeline.assets.recordings import describe_recording, take_in_luxtronik
    from hp_pipeline.settings import LuxtronikSource
    from hp_pipeline.sources.luxtronik.imports import RecordingError

    try:
        zone = ZoneInfo(time_zone).key if time_zone else None
    except (ZoneInfoNotFoundError, ValueError):
        raise click.UsageError(
            f"--time-zone {time_zone}: there is no such time zone; write one as Europe/Berlin."
        ) from None
    workspace = open_workspace(settings, data)
    try:
        source = workspace.settings.source(source_id)
    except LookupError as error:
        raise click.ClickException(str(error)) from None
    if not isinstance(source, LuxtronikSource):
        raise click.ClickException(f"{source_id} is of kind {source.kind}: a source of kind luxtronik takes these.")
    stored: dict[tuple[str, str], Receipt] = {}
    problems = []
    moment = time.replace(tzinfo=UTC) if time else None
    with progress_bars() as progress:
        task = progress.add_task("taking in", total=len(files))
        for path in files:
            try:
                taken = take_in_luxtronik(workspace, source, path, datetime.now(UTC), time=moment, time_zone=zone)
            except RecordingError as error:
                problems.append(str(error))
                continue
            finally:
                progress.advance(task)
            stored |= {(f"readings/{source_id}", key): receipt for key, receipt in taken.changed.items()}
            progress.console.print(escape(describe_recording(taken)), highlight=False)
    workspace.publish()
    tell_dagster(workspace, stored)
    click.echo(f"{len(stored)} days of readings changed. Next: hp-pipeline materialize")
    if problems:
        raise click.ClickException("\n".join(["Some recordings could not be read, all others were:", *problems]))


@import_group.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--to",
    "target",
    default="maps",
    show_default=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for register maps and profiles, seen from where hp.yaml lies.",
)
@places
def hpmanager(folder: Path, target: Path, settings: str | None, data: str | None) -> None:
    """HPManager's four YAML files (its FOLDER config): register maps, profiles and settings to go on with.

    Points keep HPManager's names, so that what it wrote to InfluxDB and what is read from now on are the same series.
    Nothing that is there is overwritten.
    """
    from hp_pipeline.sources.modbus.hpmanager import import_hpmanager
    from hp_pipeline.vocabulary.registers import RegisterMapError

    base = Path() if (found := locate(settings, data)).is_demo else found.settings.parent
    try:
        imported = import_hpmanager(folder, target.as_posix())
        paths = imported.write(base / target)
    except (RegisterMapError, FileExistsError) as error:
        raise click.ClickException(str(error)) from None
    for path in paths:
        click.echo(f"written: {path}")
    for note in imported.notes:
        click.echo(f"note: {note}")
    if imported.settings:
        click.echo(f"\nFor hp.yaml:\n{imported.settings}")
