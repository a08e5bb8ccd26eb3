"""Commands that ask devices and archives, and change nothing there: probe."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import click

from hp_pipeline.cli.common import open_workspace, places


@click.command()
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
