"""The one calendar of the graph: UTC days."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta

import dagster as dg

from hp_pipeline.settings import Settings

RANGE_START = "dagster/asset_partition_range_start"
RANGE_END = "dagster/asset_partition_range_end"

BEAT = "hp_pipeline/beat"
"""Tag of runs that the pipeline itself asked for: only what is due is made. Any other run makes all that it names."""


HOURLY = "hp_pipeline/hourly"
"""Tag of the beats that bring weeks and longer up to date, too, and tell of all days that they look at."""

PARENT_RUN = "dagster/parent_run_id"
"""Tag of a run that takes the place of one that was cut off, or failed."""

LANDED = "landed"
"""Value of the tag `BEAT` of runs that bring what live sources told: their sensor asks again for what failed."""

NEIGHBOURS = timedelta(days=3)
"""Days so close to each other are one range: the days between are up to date and cost next to nothing."""


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


def days_between(first: date, last: date) -> list[date]:
    """The days from `first` to `last`, both included."""
    return [first + timedelta(days=count) for count in range((last - first).days + 1)]


def ranges(days: Iterable[date]) -> Sequence[tuple[date, date]]:
    """Days → ranges of days, those close to each other together."""
    result: list[tuple[date, date]] = []
    for day in sorted(days):
        if result and day - result[-1][1] <= NEIGHBOURS:
            result[-1] = (result[-1][0], day)
        else:
            result.append((day, day))
    return result


def around(before: int, after: int) -> dg.TimeWindowPartitionMapping:
    """A day is made from the days from `before` days before it to `after` days after it."""
    with warnings.catch_warnings():
        # One release of Dagster is pinned: that this parameter may change in another one is no news at every start.
        warnings.simplefilter("ignore", dg.BetaWarning)
        return dg.TimeWindowPartitionMapping(
            start_offset=-before, end_offset=after, allow_nonexistent_upstream_partitions=True
        )
