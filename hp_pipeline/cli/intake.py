"""The command that takes files in: import."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.markup import escape

from hp_pipeline.cli.common import open_workspace, places, progress_bars, tell_dagster

if TYPE_CHECKING:
    from hp_pipeline.lake import Receipt


@click.command(name="import")
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
