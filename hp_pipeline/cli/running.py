"""Commands that start things or say how they are: run, collect, status, demo, check."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.markup import escape

from hp_pipeline.cli.common import Places, err, locate, open_workspace, places

if TYPE_CHECKING:
    from hp_pipeline.assets.workspace import Workspace
    from hp_pipeline.services.supervisor import Service

DEMO_DAYS = 60


@click.command()
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


@click.command()
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


@click.command()
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


@click.command()
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


@click.command()
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
