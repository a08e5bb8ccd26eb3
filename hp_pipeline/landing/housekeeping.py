"""The landing is bounded: what the lake has and what is older than the retention goes, and a full disk is not met
unprepared. Readings that are not in the lake yet are never removed."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from hp_pipeline.landing.store import Landing

RETENTION: Final = timedelta(days=3)
"""How long polls stay that are in the lake: long enough to look into what happened the day before yesterday."""

DISK_LIMIT: Final = 0.9
"""Share of the disk in use beyond which the landing is thinned."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What a round of housekeeping found and did.

    Attributes:
        used: share of the disk in use, 0 to 1, before anything was done.
        pruned: polls removed that are in the lake.
        documents: raw answers removed.
        failures: failed polls removed.
        warning: what the owner should know; None when all is well.
    """

    used: float
    pruned: int
    documents: int
    failures: int
    warning: str | None


def keep_house(landing: Landing, now: datetime, retention: timedelta = RETENTION, limit: float = DISK_LIMIT) -> Kept:
    """Remove what may go; on a disk that is nearly full also raw answers older than an hour, failed polls older than
    an hour, and polls of finished days that are in the lake.

    Raises:
        LandingError: the landing cannot be written.
    """
    used = share_in_use(landing.path.parent)
    pruned = landing.prune(now - retention)
    if used < limit:
        return Kept(used, pruned, 0, 0, None)
    documents = landing.thin_documents(now - timedelta(hours=1))
    failures = landing.thin_failures(now - timedelta(hours=1))
    pruned += landing.prune(now)
    warning = (
        f"the disk of {landing.path.parent} is {used:.0%} full (the limit is {limit:.0%}): of the landing, "
        f"{documents} raw answers, {failures} failed polls and {pruned} polls that are in the lake were removed. "
        "Make room on that disk: readings go on being stored until it is full"
    )
    return Kept(used, pruned, documents, failures, warning)


def share_in_use(folder: Path) -> float:
    """Share of a folder's disk that is in use, of what this user could use."""
    usage = shutil.disk_usage(folder)
    return usage.used / max(1, usage.used + usage.free)
