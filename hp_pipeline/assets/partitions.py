"""The one calendar of the graph: UTC days."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from datetime import UTC, date, datetime

import dagster as dg

from hp_pipeline.settings import Settings

RANGE_START = "dagster/asset_partition_range_start"
RANGE_END = "dagster/asset_partition_range_end"

BEAT = "hp_pipeline/beat"
"""Tag of runs that the pipeline itself asked for: only what is due is made. Any other run makes all that it names."""


def utc_days(settings: Settings) -> dg.DailyPartitionsDefinition:
    """UTC days from the site's start; today is one of them."""
    start = settings.site.start
    return dg.DailyPartitionsDefinition(
        start_date=datetime(start.year, start.month, start.day, tzinfo=UTC), timezone="UTC", end_offset=1
    )


def range_tags(first: date, last: date) -> dict[str, str]:
    """Tags that make a run one over the UTC days from `first` to `last`."""
    return {RANGE_START: first.isoformat(), RANGE_END: last.isoformat()}


def range_of(tags: Mapping[str, str]) -> tuple[date | None, date | None]:
    """The UTC days that a run's tags name; (None, None) when they name none."""
    one = tags.get("dagster/partition")
    first, last = tags.get(RANGE_START, one), tags.get(RANGE_END, one)
    if first is None or last is None:
        return None, None
    return date.fromisoformat(first), date.fromisoformat(last)


def around(before: int, after: int) -> dg.TimeWindowPartitionMapping:
    """A day is made from the days from `before` days before it to `after` days after it."""
    with warnings.catch_warnings():
        # One release of Dagster is pinned: that this parameter may change in another one is no news at every start.
        warnings.simplefilter("ignore", dg.BetaWarning)
        return dg.TimeWindowPartitionMapping(
            start_offset=-before, end_offset=after, allow_nonexistent_upstream_partitions=True
        )
