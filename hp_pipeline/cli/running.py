"""Commands that start things or say how they are: run, collect, status, demo, check."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.markup import escape

from hp_pipeline.cli.common import Places, err, locate, open_workspace, places

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hp_pipeline.services.supervisor import Service
    from hp_pipeline.simulation.street.server import Street

DEMO_DAYS = 14


@click.command()
@places
@click.option("--port", default=3000, show_default=True, help="Port of the pages, on 127.0.0.1 only.")
@click.option("--days", default=DEMO_DAYS, show_default=True, help="Days of a new demo street's past.")
@click.option("--speed", default=1, show_default=True, help="How fast the demo street lives: 60 = an hour a minute.")
@click.option(
    "--faults",
    default="none",
    show_default=True,
    help="What goes wrong in the demo street: one fault every so often, such as 5min, or of some kinds only, such as "
    "'1min luxtronik:busy shelly:stall'.",
)
@click.option("--collector/--no-collector", default=True, show_default=True, help="Ask the live sources, too.")
def run(settings: str | None, data: str | None, port: int, days: int, speed: int, faults: str, collector: bool) -> None:
    """Start everything: code server, pages, daemon and, for live sources, the collector, until Ctrl-C.

    Without a settings file the demo street is shown: simulated houses on one weather, whose devices answer over their
    real protocols. What they told before is taken in from files, and they are asked on before your eyes.
    """
    from hp_pipeline.services.supervisor import run_services
    from hp_pipeline.simulation.street.plan import exported

    found = locate(settings, data)
    extra = []
    history = None
    if found.is_demo:
        _prepare_street(found, days, speed, faults)
        extra.append(_street_service(found, speed, faults))
        if not exported(found.data).exists():
            # Beside the start of the services, so that both are over soon.
            history = subprocess.Popen([*_street_command(found), "--history"])
    workspace = open_workspace(str(found.settings), str(found.data))
    workspace.publish()
    err.print(f"Settings: {found.settings}   Data: {found.data}", highlight=False)
    if collector:
        extra.append(collector_service(found))
    code = run_services(found.data, found.settings, port=port, extra=extra)
    if history is not None:
        history.terminate()  # where it was ended midway, the next start writes it
        history.wait()
    sys.exit(code)


def collector_service(found: Places) -> Service:
    """The collector, which is needed once the settings name a live source."""
    from hp_pipeline.landing.health import ask
    from hp_pipeline.services.supervisor import Service

    places = ("--settings", str(found.settings.resolve()), "--data", str(found.data.resolve()))

    def ready() -> str | None:
        return None if ask(found.data) is not None else "no health answer"

    command = (sys.executable, "-m", "hp_pipeline.cli", "collect", *places)
    return Service("collector", command, ready, wanted=_names_live_sources(found.settings.resolve()))


def _names_live_sources(settings: Path) -> Callable[[], bool]:
    """Tells whether a settings file, as it is now, names live sources; it is read only after it was changed."""
    from hp_pipeline.settings import SettingsError, load_settings
    from hp_pipeline.sources.registry import is_live

    seen: bytes | None = None

    def look() -> bool:
        nonlocal seen
        try:
            content = settings.read_bytes()
            if content == seen:
                return False
            seen = content
            return any(is_live(source) for source in load_settings(settings).sources)
        except (OSError, SettingsError):
            return False  # whoever reads it for good says what is wrong

    return look


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
        for reason, count in source.get("rejected", {}).items():
            click.echo(f"{source['id']}: {count} times not taken: {reason}.")
    for problem in answer["problems"]:
        click.echo(problem)


@click.command()
@places
@click.option("--days", default=DEMO_DAYS, show_default=True, help="Days of the past.")
@click.option("--score", is_flag=True, help="Compare what was found with what was true, and say what became of faults.")
def demo(settings: str | None, data: str | None, days: int, score: bool) -> None:
    """Write the demo street's settings and the readings of its past, and start nothing.

    Afterwards every other command works on it, as long as there is no hp.yaml.
    """
    found = locate(None, data)
    if not found.is_demo or settings is not None:
        raise click.ClickException("The demo street is for a folder without hp.yaml; there is one here.")
    if score:
        _show_score(found)
        return
    _prepare_street(found, days, 1, "none")
    with err.status("Writing what the devices told until now …"):
        _street(found).write_history()


def _prepare_street(found: Places, days: int, speed: int, faults: str) -> None:
    from hp_pipeline.simulation.street.making import prepare_street
    from hp_pipeline.simulation.street.trouble import Faults

    try:
        Faults.parse(faults)
        with err.status(f"Building the demo street ({days} days of its past) …"):
            plan = prepare_street(found.data, found.settings, datetime.now(UTC), days, speed)
    except ValueError as error:
        raise click.ClickException(str(error)) from None
    err.print(f"The demo street: {', '.join(plan.houses)}, since {plan.start:%Y-%m-%d}.")
    if plan.mqtt is None:
        err.print("The house with the solar heating is left out: it needs an MQTT broker (apt-get install mosquitto).")


def _street(found: Places) -> Street:
    from hp_pipeline.simulation.street.plan import load_plan
    from hp_pipeline.simulation.street.server import Street

    plan = load_plan(found.data)
    if plan is None:
        raise click.ClickException("There is no demo street here: `hp-pipeline run` builds one.")
    return Street(plan, found.data)


def _street_command(found: Places) -> tuple[str, ...]:
    return (sys.executable, "-m", "hp_pipeline.simulation.street", "--data", str(found.data.resolve()))


def _street_service(found: Places, speed: int, faults: str) -> Service:
    """The process in which all devices of the street answer."""
    from hp_pipeline.services.supervisor import Service
    from hp_pipeline.simulation.street.plan import is_served

    return Service(
        "street",
        (*_street_command(found), "--speed", str(speed), "--faults", faults),
        lambda: None if is_served(found.data) else "the devices do not answer",
    )


def _show_score(found: Places) -> None:
    from rich.table import Table

    from hp_pipeline.cli.street import score_solar_heating, score_street

    _street(found)
    workspace = open_workspace(None, str(found.data.parent))
    energies, troubles = score_street(workspace.settings, found.data, workspace.lake)
    table = Table("house", "whole days", "electricity", "true", "heat", "true", "COP", "true", box=None)
    for row in energies:
        table.add_row(*map(escape, row))
    Console(soft_wrap=True).print(table)
    rows, allowed = score_solar_heating(found.data, workspace.lake)
    if allowed is not None:
        table = Table(
            "solar heating", "whole hours", "found", "true", "hours: 95 % off by", "worst hour", "worst day",
            "days beyond",
            box=None,
        )  # fmt: skip
        for row in rows:
            table.add_row(*map(escape, row))
        Console(soft_wrap=True).print(table)
        click.echo(allowed)
    for line in troubles:
        click.echo(line)


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
    ids = {
        "Heat pumps": [part.id for part in loaded.heat_pumps],
        "Solar heating": [part.id for part in loaded.solar_systems],
        "Sources": [part.id for part in loaded.sources],
    }
    named = (f"{what}: {', '.join(those)}." for what, those in ids.items() if those)
    click.echo(" ".join([f"{found.settings} is right.", *named]))
