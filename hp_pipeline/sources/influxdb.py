"""InfluxDB as an archive: readings of a time range, of many series in one query, nothing aggregated.

Version 2 is asked in Flux, versions 1 and 3 in InfluxQL. A range is asked for in pages of whole UTC days (shorter
where a day is large), so that the memory it takes does not depend on the length of the range.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol, Self

import polars as pl

from hp_pipeline.settings.sources import InfluxdbSource, SeriesSelector
from hp_pipeline.sources.errors import SourceError
from hp_pipeline.sources.flux import Flux
from hp_pipeline.sources.influxql import InfluxQl, is_pattern
from hp_pipeline.sources.readings import Rejects, concatenated, normalise
from hp_pipeline.vocabulary.points import Selector, parse_point

__all__ = ["InfluxdbArchive", "SourceError", "selector_of"]

_DAY = timedelta(days=1)
_LONGEST_PAGE = 16 * _DAY
_SHORTEST_PAGE = timedelta(hours=1)
_PAGE_ROWS = 500_000


class _Connection(Protocol):
    def prepare(self, conditions: Sequence[Selector]) -> Any: ...

    def readings(
        self, conditions: Sequence[Selector], prepared: Any, begin: datetime, end: datetime
    ) -> Iterator[pl.DataFrame]: ...

    def last_readings(self, begin: datetime, end: datetime) -> Iterator[pl.DataFrame]: ...

    def close(self) -> None: ...


def selector_of(wanted: SeriesSelector) -> Selector:
    """A selector of the settings as one of the vocabulary."""
    return Selector(point=wanted.point, measurement=wanted.measurement, field=wanted.field, tags=wanted.tags)


class InfluxdbArchive:
    """An InfluxDB to read from. Use it as a context manager.

    Args:
        source: where it is and how to read it.
        pause: seconds before the first repetition when the server is overloaded.
    """

    def __init__(self, source: InfluxdbSource, *, pause: float = 0.5) -> None:
        self.source = source
        self._connection: _Connection = Flux(source, pause) if source.version == 2 else InfluxQl(source, pause)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def pull(
        self,
        selectors: Sequence[Selector],
        start: datetime,
        stop: datetime,
        *,
        rejects: Rejects | None = None,
        page_rows: int = _PAGE_ROWS,
    ) -> Iterator[pl.DataFrame]:
        """Readings of every series that one of the selectors finds, in [start, stop).

        Args:
            selectors: which series; none of them is asked for nothing.
            start: first time, with its zone.
            stop: the time after the last one.
            rejects: where readings that are not believed are reported.
            page_rows: about how many readings a frame holds at most.

        Yields:
            Frames of readings in the order of time by page; a series comes again with each page. Frames without
            rows are left out.

        Raises:
            SourceError: no connection, wrong credentials, an unknown database, no InfluxDB, …
        """
        rejects = Rejects() if rejects is None else rejects
        conditions = _conditions(selectors)
        if not conditions or start >= stop:
            return
        prepared = self._connection.prepare(conditions)
        accepted = _memoised(lambda point: any(selector.matches(point) for selector in selectors))

        def regular(raw: Sequence[pl.DataFrame]) -> pl.DataFrame:
            # The server may give more than was asked for: it has regular expressions of its own.
            found = pl.concat(raw)
            points = [point for point in found["point"].unique() if accepted(point)]
            return normalise(
                found.filter(pl.col("point").is_in(points)),
                rejects,
                start=start.astimezone(UTC).date(),
                now=stop,
                tolerance=timedelta(0),
            )

        page = _DAY
        begin = start
        while begin < stop:
            end = min(_page_end(begin, page), stop)
            waiting: list[pl.DataFrame] = []
            rows = in_page = 0
            for raw in self._connection.readings(conditions, prepared, begin, end):
                waiting.append(raw)
                rows += raw.height
                in_page += raw.height
                if rows >= page_rows:
                    readings = regular(waiting)
                    waiting, rows = [], 0
                    if not readings.is_empty():
                        yield readings
            if waiting:
                readings = regular(waiting)
                if not readings.is_empty():
                    yield readings
            begin = end
            if in_page > page_rows // 2:
                page = max(page / 2, _SHORTEST_PAGE)
            elif in_page < page_rows // 8:
                page = min(page * 2, _LONGEST_PAGE)

    def list_series(self, start: datetime, stop: datetime) -> pl.DataFrame:
        """The last reading of every series in [start, stop), one row per point.

        Raises:
            SourceError: as `pull`.
        """
        found = concatenated(self._connection.last_readings(start, stop))
        return found.sort("point", "time").group_by("point", maintain_order=True).last()


def _page_end(begin: datetime, page: timedelta) -> datetime:
    """The end of a page that starts at `begin`: a multiple of its length since 1970, so that days stay whole."""
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    return epoch + ((begin - epoch) // page + 1) * page


def _memoised(test: Callable[[str], bool]) -> Callable[[str], bool]:
    known: dict[str, bool] = {}

    def answer(point: str) -> bool:
        if point not in known:
            known[point] = test(point)
        return known[point]

    return answer


def _conditions(selectors: Sequence[Selector]) -> list[Selector]:
    """The selectors in terms of measurement, field and tags, which is what a database understands."""
    conditions: list[Selector] = []
    for selector in selectors:
        if selector.point is None or is_pattern(selector.point):
            condition = Selector(measurement=selector.measurement, field=selector.field, tags=selector.tags)
        else:
            series = parse_point(selector.point)
            if series is None:
                continue  # a plain name is no series of an InfluxDB
            condition = Selector(measurement=series.measurement, field=series.field, tags=series.tags)
        if condition not in conditions:
            conditions.append(condition)
    return conditions
