"""Energy lists (`heating.power.consumption.total` and such) → what the cloud remembers of days and months.

The lists `day` (8), `week` (6 or 7), `month` (13) and `year` (2) hold energies in kWh of the device's local calendar:
first the period that runs, as far as `…ValueReadAt`, then those before it, one by one; weeks begin on Monday. (In the
recorded documents week 0 is the sum of its days, and year 0 that of its months.)

Each list is told as a counter that starts at 0 with every period, under the same point as by a poll:

- 0 at the local midnight that begins a period, and the whole of it in the second before the next one begins;
- within a longer period, what it had reached when a shorter one ended: its energy so far less the shorter ones since.
  So the counter of the year is told for each midnight of the last week and for each month's end.

A difference of two of them is an energy that the device has counted; how it was spread within a day, nobody knows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from hp_pipeline.sources.live import Reading
from hp_pipeline.sources.viessmann.features import PERIODS, Feature, period_values, read_at

_LAST_SECOND = timedelta(seconds=1)
_FINER: Mapping[str, tuple[str, ...]] = {"day": (), "week": ("day",), "month": ("day",), "year": ("month", "day")}


def remembered(
    features: Iterable[Feature],
    prefix_of: Mapping[tuple[str, str], str],
    zone: ZoneInfo,
    start: datetime,
    stop: datetime,
) -> list[Reading]:
    """What the lists of a document say of [start, stop), sorted by point and time."""
    found: dict[tuple[str, datetime], float] = {}
    for feature in features:
        prefix = prefix_of[feature.gateway, feature.device]
        for period in PERIODS:
            point = f"{prefix}{feature.name}.{period}"
            for moment, value in _counter(feature, period, zone):
                if start <= moment < stop:
                    found.setdefault((point, moment), value)
    return [Reading(point, value=found[point, moment], time=moment) for point, moment in sorted(found)]


def _counter(feature: Feature, period: str, zone: ZoneInfo) -> Iterator[tuple[datetime, float]]:
    energies = _known(period_values(feature, period))
    read = read_at(feature, period)
    if not energies or read is None:
        return
    yield read, energies[0]
    today = read.astimezone(zone).date()
    begins = [_begin(period, today, back) for back in range(len(energies) + 1)]
    for back, begin in enumerate(begins[:-1]):
        yield _midnight(begin, zone), 0.0
        if back:
            yield _midnight(begins[back - 1], zone) - _LAST_SECOND, energies[back]
    for finer in _FINER[period]:
        since = 0.0
        for back, energy in enumerate(_known(period_values(feature, finer))):
            begin = _begin(finer, today, back)
            since += energy
            if begin <= begins[0] or since > energies[0] + _ROUNDING:
                break
            yield _midnight(begin, zone) - _LAST_SECOND, round(max(energies[0] - since, 0.0), 6)


def _known(energies: list[float]) -> list[float]:
    """Without the zeros at the end: before the device was there, the list says 0 as well."""
    while len(energies) > 1 and energies[-1] == 0.0:
        energies = energies[:-1]
    return energies


_ROUNDING = 0.2
"""kWh by which the sum of rounded energies may differ from the whole."""


def _begin(period: str, day: date, back: int) -> date:
    """The first day of the period with this day, or of the one so many before it."""
    if period == "day":
        return day - timedelta(days=back)
    if period == "week":
        return day - timedelta(days=day.weekday() + 7 * back)
    if period == "month":
        months = day.year * 12 + day.month - 1 - back
        return date(months // 12, months % 12 + 1, 1)
    return date(day.year - back, 1, 1)


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time(), zone).astimezone(UTC)
