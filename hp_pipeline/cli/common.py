"""What every command needs: where settings and data are, how progress is shown, how Dagster is told."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

if TYPE_CHECKING:
    from hp_pipeline.assets.workspace import Workspace
    from hp_pipeline.lake import Receipt

err = Console(stderr=True, soft_wrap=True)

Command = Callable[..., Any]

DEMO_FOLDER = "demo"

DAY = click.DateTime(["%Y-%m-%d"])


def places(command: Command) -> Command:
    """The options that say where the settings and the data are."""
    command = click.option(
        "--data",
        "data",
        metavar="DIR",
        help="Data folder. Default: $HP_DATA, else ./data (of the demo street, data/demo).",
    )(command)
    return click.option(
        "--settings", "settings", metavar="FILE", help="Settings file. Default: $HP_SETTINGS, else ./hp.yaml."
    )(command)


@dataclass(frozen=True)
class Places:
    """Where settings and data are; without a settings file they are the demo street's."""

    settings: Path
    data: Path
    is_demo: bool


def locate(settings: str | None, data: str | None) -> Places:
    """Find settings and data folder as the options, the environment and the working directory say."""
    from hp_pipeline.settings import data_dir, settings_path

    path, folder = settings_path(settings), data_dir(data)
    if path is not None:
        return Places(path, folder, False)
    from hp_pipeline.simulation.street.houses import SECRETS

    for name, secret in SECRETS.items():
        os.environ.setdefault(name, secret)
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
            "or start the demo street with `hp-pipeline run`."
        )
    if found.is_demo:
        err.print("[dim]No hp.yaml here: this is the demo street.[/dim]")
    try:
        return Workspace(load_settings(found.settings), found.data)
    except SettingsError as error:
        raise click.ClickException(str(error)) from None


def progress_bars() -> Any:
    """Bars on standard error that say how far the work is (a `rich` Progress)."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    return Progress(
        TextColumn("{task.description:<28}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=err
    )


def terminal_width() -> int | None:
    """Columns of the terminal; None where the output goes to a file or another program."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def tell_dagster(workspace: Workspace, stored: dict[tuple[str, str], Receipt]) -> None:
    """Let the pages know what was made here, where there is a Dagster instance in the data folder."""
    from hp_pipeline.services.environment import dagster_home

    if not stored or not (dagster_home(workspace.data) / "dagster.yaml").exists():
        return
    import dagster as dg

    from hp_pipeline.assets.describe import asset_key
    from hp_pipeline.services.instance import open_instance
    from hp_pipeline.vocabulary.tables import tables

    with open_instance(workspace.data) as instance, progress_bars() as progress:
        for (asset, key), receipt in progress.track(stored.items(), description="telling Dagster"):
            table = tables()[asset.partition("/")[0]]
            instance.report_runless_asset_event(
                dg.AssetMaterialization(
                    asset_key(*asset.split("/")),
                    partition=key if table.partitions == "days" else None,
                    metadata={"dagster/partition_row_count": receipt.rows, "content": receipt.content},
                )
            )
