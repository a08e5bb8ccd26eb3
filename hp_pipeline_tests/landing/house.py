"""A house whose heat pump is a tiny device, for tests of the way from the landing to the figures."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from hp_pipeline.assets.stages import stages
from hp_pipeline.assets.workspace import Workspace
from hp_pipeline.lake import replace_file
from hp_pipeline.landing.store import Attempt, Landing
from hp_pipeline.settings import load_settings
from hp_pipeline.sources.live import Outcome, Polled, Reading
from hp_pipeline_tests.landing.tiny import values_of

SETTINGS = """\
site: {name: Tiny house, time_zone: Europe/Berlin, start: 2026-01-01}
heat_pumps:
  - id: pump
    frame_interval: 30s
    inputs: [{source: tiny, profile: tiny.yaml}]
sources:
  - {id: tiny, kind: luxtronik, host: 127.0.0.1}
automation: {beat: 1min}
"""

PROFILE = """\
description: What a tiny device tells
signals:
  electrical_power: {select: power, unit: W}
  flow_temperature: {select: flow, unit: °C}
  return_temperature: {select: return, unit: °C}
  flow_rate: {select: rate, unit: l/h}
  operating_mode: {select: mode, values: {heating: heating, standby: standby}}
"""

NOON = datetime(2026, 1, 10, 12, tzinfo=UTC)


def tiny_house(folder: Path) -> Workspace:
    """The settings in a folder, with an empty data folder beside."""
    folder.mkdir(parents=True, exist_ok=True)
    # Whole or not at all: other processes open the same house.
    replace_file(folder / "hp.yaml", SETTINGS.encode())
    replace_file(folder / "tiny.yaml", PROFILE.encode())
    (folder / "data").mkdir(exist_ok=True)
    return Workspace(load_settings(folder / "hp.yaml"), folder / "data")


def attempt(number: int, time: datetime, points: set[str] | None = None) -> Attempt:
    """A good poll of a tiny device, of all its points or of some."""
    told = {point: value for point, value in values_of(number).items() if points is None or point in points}
    readings = [Reading(p, None, v) if isinstance(v, str) else Reading(p, v) for p, v in told.items()]
    return Attempt("tiny", time, timedelta(seconds=0.1), Outcome.ok, Polled(readings), due=time, time=time)


def land(workspace: Workspace, start: datetime, count: int, first: int = 1, every: float = 30.0) -> None:
    """Good polls of the tiny device, numbered from `first` on."""
    with Landing(workspace.data) as landing:
        landing.record([attempt(first + index, start + index * timedelta(seconds=every)) for index in range(count)])


def make_tables(workspace: Workspace) -> None:
    """All tables of the heat pump, up to date."""
    for stage in stages(workspace.plant("pump")):
        stage.bring_up_to_date(stage.keys()).raise_failures()


def contents(workspace: Workspace) -> dict[tuple[str, str], str]:
    """By asset and partition the hash of its content."""
    found = {}
    for asset in workspace.lake.assets():
        for key in workspace.lake.keys(asset):
            receipt = workspace.lake.receipt(asset, key)
            found[asset, key] = receipt.content if receipt else ""
    return found
