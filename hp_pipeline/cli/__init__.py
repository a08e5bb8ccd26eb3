"""The commands: `hp-pipeline --help` teaches them; each module of this package has those of one group.

Everything heavy is imported where it is used, so that `--help` and small commands answer at once.
"""

from __future__ import annotations

from typing import Any

import click

from hp_pipeline.cli.devices import probe
from hp_pipeline.cli.figures import (
    GROUPINGS,
    costs_command,
    cycles,
    heating_by_temperature,
    outlook_command,
    solar,
    summary,
)
from hp_pipeline.cli.happenings import cycling, defrosts, faults, states
from hp_pipeline.cli.intake import import_group
from hp_pipeline.cli.making import materialize
from hp_pipeline.cli.query import sql
from hp_pipeline.cli.running import check, collect, demo, run, status
from hp_pipeline.cli.upkeep import docs, export, verify

__all__ = ["GROUPINGS", "cli", "main"]


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
    from hp_pipeline.landing.store import LandingError
    from hp_pipeline.sources.errors import SourceError

    known = DamagedPartitionError | StorageError | LandingError | SourceError | NotStoredError | PermissionError
    return isinstance(error, known)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="hp_pipeline", prog_name="hp-pipeline")
def cli() -> None:
    """Readings of heat pumps and meters become sessions, energies, COP and JAZ.

    \b
    First steps:
      hp-pipeline run                     the pages at http://127.0.0.1:3000; without hp.yaml a demo street
      hp-pipeline check                   is hp.yaml right? every mistake with its line
      hp-pipeline probe luxtronik         what a device holds, and the settings for it; see also probe --help
      hp-pipeline import old.csv --source ID
      hp-pipeline materialize             bring all tables up to date, without any service
      hp-pipeline summary --by month
      hp-pipeline costs                   and: hp-pipeline outlook, what the running year comes to
      hp-pipeline sql "SELECT period, cop FROM monthly"
    """


for command in (
    run,
    collect,
    status,
    demo,
    check,
    probe,
    import_group,
    materialize,
    sql,
    summary,
    costs_command,
    outlook_command,
    heating_by_temperature,
    cycles,
    cycling,
    defrosts,
    faults,
    states,
    solar,
    export,
    verify,
    docs,
):
    cli.add_command(command)


def main() -> None:
    """Entry point of `hp-pipeline`."""
    cli(prog_name="hp-pipeline")
