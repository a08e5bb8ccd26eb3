"""Which module speaks with which kind of live source. It is imported when it is needed, by name: a house without
Modbus loads no Modbus."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from datetime import timedelta
from types import ModuleType
from typing import Any

from hp_pipeline.settings.model import SettingsModel
from hp_pipeline.sources.live import ListeningSource, PolledSource

LIVE_KINDS: dict[str, str] = {
    "luxtronik": "hp_pipeline.sources.luxtronik",
    "modbus": "hp_pipeline.sources.modbus",
    "mqtt": "hp_pipeline.sources.mqtt",
    "shelly": "hp_pipeline.sources.shelly",
    "viessmann": "hp_pipeline.sources.viessmann",
}
"""By kind the module whose `open_source(settings, …)` opens a live source."""


REMEMBERS: Mapping[str, timedelta] = {"shelly": timedelta(minutes=1), "viessmann": timedelta(days=1)}
"""Kinds whose devices or clouds remember readings themselves (`live.RemembersHistory`), and how far apart these are:
they lie on whole minutes, or days."""


def is_live(source: SettingsModel) -> bool:
    """Whether readings of a source come through the collector and its landing."""
    return getattr(source, "kind", None) in LIVE_KINDS


def load_live(source: SettingsModel) -> ModuleType:
    """Import the module that speaks with a live source.

    Raises:
        ImportError: what it needs is not installed.
    """
    return importlib.import_module(LIVE_KINDS[getattr(source, "kind")])  # noqa: B009 - models of live sources have it


def open_live(source: SettingsModel, offered: Mapping[str, Any]) -> PolledSource | ListeningSource:
    """Open the source that the settings name.

    Args:
        source: its settings.
        offered: what a source may ask for by the name of a keyword of its `open_source`; it gets what it names.
            `folder`: the data folder. `directory`: the folder of the settings file. `time_zone`: of the site.
            `open_ledger`: see `budget.OpensLedger`. `state`: what was kept for the source, by key. `keep`: keeps a
            small thing (key, JSON) for the source.

    Raises:
        PollError: it cannot be opened.
        ImportError: what it needs is not installed.
    """
    module = load_live(source)
    wanted = inspect.signature(module.open_source).parameters
    opened: PolledSource | ListeningSource = module.open_source(
        source, **{name: value for name, value in offered.items() if name in wanted}
    )
    return opened
