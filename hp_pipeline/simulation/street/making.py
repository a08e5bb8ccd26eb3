"""Making the street of a data folder: decided, lived until now, and its settings written."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path

from hp_pipeline.simulation.street.plan import Plan, free_ports, load_plan, new_plan, settings_of
from hp_pipeline.simulation.street.server import grow, lives_of


def prepare_street(data: Path, settings: Path, now: datetime, days: int, speed: int = 1) -> Plan:
    """Make the street of a data folder, or get the one that is there ready to be served again.

    The settings file is written anew where a port had to change, or the speed did.

    Args:
        data: the data folder.
        settings: where the settings file is to be.
        now: the present.
        days: of the past, for a new street.
        speed: how fast it is going to live.

    Raises:
        ValueError: no day, or an impossible speed.
    """
    plan = load_plan(data)
    if plan is None:
        plan = new_plan(now, days)
        grow(lives_of(plan, data), now, 1)
    else:
        plan = replace(plan, ports=free_ports(plan.ports))
    plan.save(data)
    text = settings_of(plan, speed)
    # The settings come last: where they are, the street is whole.
    if not settings.exists() or settings.read_text(encoding="utf-8") != text:
        settings.parent.mkdir(parents=True, exist_ok=True)
        settings.write_text(text, encoding="utf-8")
    return plan
