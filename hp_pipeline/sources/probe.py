"""What an InfluxDB holds, and how a profile fits it: for the owner who connects a house for the first time."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from hp_pipeline.settings.sources import InfluxdbSource
from hp_pipeline.sources.influxdb import InfluxdbArchive, selector_of
from hp_pipeline.sources.influxql import is_pattern
from hp_pipeline.vocabulary.points import Selector, parse_point
from hp_pipeline.vocabulary.profiles import SignalMapping

_NEAREST = 3
_CUTOFF = 0.5


@dataclass(frozen=True)
class ProbedSeries:
    """One series and its last reading.

    Attributes:
        point: native name.
        time: when it was last read.
        last: the last value or text, as text.
        signals: signals that it is used for.
    """

    point: str
    time: datetime
    last: str
    signals: tuple[str, ...] = ()


@dataclass(frozen=True)
class ProbedSignal:
    """One signal of the profile.

    Attributes:
        signal: its name.
        found: series of the first selector that finds any; more than one means that the selector is ambiguous.
        nearest: when none is found, points whose names are most like what was looked for.
        looked_for: the selectors, as text.
    """

    signal: str
    found: tuple[ProbedSeries, ...]
    nearest: tuple[str, ...]
    looked_for: tuple[str, ...]

    @property
    def is_ambiguous(self) -> bool:
        """Whether several series answer to the selector."""
        return len(self.found) > 1


@dataclass(frozen=True)
class ProbeReport:
    """What was found between two times.

    Attributes:
        source_id: the source.
        start: from when.
        stop: until when (exclusive).
        series: every series, sorted by point.
        signals: every signal of the profiles, in their order.
        kept: points that the source keeps although no profile asks for them.
    """

    source_id: str
    start: datetime
    stop: datetime
    series: tuple[ProbedSeries, ...]
    signals: tuple[ProbedSignal, ...]
    kept: frozenset[str]

    @property
    def missing(self) -> list[ProbedSignal]:
        """Signals without a series."""
        return [signal for signal in self.signals if not signal.found]

    @property
    def ambiguous(self) -> list[ProbedSignal]:
        """Signals with more than one series."""
        return [signal for signal in self.signals if signal.is_ambiguous]


def probe_influxdb(
    source: InfluxdbSource, mappings: Iterable[SignalMapping], *, start: datetime, stop: datetime
) -> ProbeReport:
    """Ask an InfluxDB for its series with their last readings, and compare them with what profiles look for.

    Args:
        source: the InfluxDB.
        mappings: the profiles' signals.
        start: series without a reading since are not listed.
        stop: the present.

    Raises:
        SourceError: it cannot be read.
    """
    with InfluxdbArchive(source) as archive:
        listed = archive.list_series(start, stop)
    return compare(source, listed, mappings, start=start, stop=stop)


def compare(
    source: InfluxdbSource,
    listed: pl.DataFrame,
    mappings: Iterable[SignalMapping],
    *,
    start: datetime,
    stop: datetime,
) -> ProbeReport:
    """The report on series that were listed (one reading per point)."""
    series = {
        point: ProbedSeries(point, time, text if value is None else f"{value:g}")
        for point, time, value, text in listed.iter_rows()
    }
    used: dict[str, list[str]] = {point: [] for point in series}
    signals = []
    for mapping in mappings:
        selectors = [selector for selector in mapping.selectors if _names_a_series(selector)]
        points = _found_by_first(selectors, list(series))
        for point in points:
            used[point].append(mapping.signal.name)
        signals.append(
            ProbedSignal(
                mapping.signal.name,
                tuple(series[point] for point in points),
                () if points else _nearest(selectors, list(series)),
                tuple(describe(selector) for selector in selectors),
            )
        )
    extra = [selector_of(selector) for selector in source.extra]
    kept = frozenset(point for point in series if any(selector.matches(point) for selector in extra))
    all_series = tuple(
        ProbedSeries(one.point, one.time, one.last, tuple(used[one.point])) for _, one in sorted(series.items())
    )
    return ProbeReport(source.id, start, stop, all_series, tuple(signals), kept)


def _names_a_series(selector: Selector) -> bool:
    """Whether it can find anything in an InfluxDB: profiles also name the columns of files."""
    return selector.point is None or is_pattern(selector.point) or parse_point(selector.point) is not None


def _found_by_first(selectors: Sequence[Selector], points: Sequence[str]) -> list[str]:
    for selector in selectors:
        found = [point for point in points if selector.matches(point)]
        if found:
            return found
    return []


def describe(selector: Selector) -> str:
    """A selector in one line."""
    parts = [
        f"{name} {word}"
        for name, word in (
            ("point", selector.point),
            ("measurement", selector.measurement),
            ("field", selector.field),
            *selector.tags.items(),
        )
        if word is not None
    ]
    return ", ".join(parts)


def _nearest(selectors: Sequence[Selector], points: Sequence[str]) -> tuple[str, ...]:
    """Points most like what the selectors name, compared in those parts that a selector names."""
    scores: dict[str, float] = {}
    for selector in selectors:
        wanted = _words(selector)
        by_words: dict[str, list[str]] = {}
        for point in points:
            words = _words_of(point, selector)
            if words:
                by_words.setdefault(words.casefold(), []).append(point)
        for words in difflib.get_close_matches(wanted.casefold(), by_words, n=_NEAREST, cutoff=_CUTOFF):
            score = difflib.SequenceMatcher(None, wanted.casefold(), words).ratio()
            for point in by_words[words]:
                scores[point] = max(score, scores.get(point, 0.0))
    return tuple(sorted(scores, key=lambda point: (-scores[point], point))[:_NEAREST])


def _words(selector: Selector) -> str:
    words = [
        selector.point,
        selector.measurement,
        selector.field,
        *(selector.tags[tag] for tag in sorted(selector.tags)),
    ]
    return " ".join(word.strip("/^$") for word in words if word is not None)


def _words_of(point: str, selector: Selector) -> str:
    if selector.point is not None:
        return point
    series = parse_point(point)
    if series is None:
        return ""
    words = [
        series.measurement if selector.measurement is not None else None,
        series.field if selector.field is not None else None,
        *(series.tags.get(tag) for tag in sorted(selector.tags)),
    ]
    return " ".join(word for word in words if word)


def format_probe(report: ProbeReport) -> str:
    """The report as text for a terminal."""
    lines = [
        f"{report.source_id}: {len(report.series)} series from {_shown(report.start)} to {_shown(report.stop)} (UTC)",
    ]
    if not report.series:
        lines += ["Nothing was found: check the bucket or database, and look further back (--from)."]
    matched = [signal for signal in report.signals if signal.found]
    if matched:
        lines += ["", f"Signals that are found ({len(matched)} of {len(report.signals)}):"]
        width = max(len(signal.signal) for signal in matched)
        for signal in matched:
            for index, one in enumerate(signal.found):
                name = signal.signal if index == 0 else ""
                mark = "!" if signal.is_ambiguous else " "
                lines.append(f" {mark} {name:{width}}  {one.last:>12.12}  {_shown(one.time)}  {one.point}")
    if report.ambiguous:
        lines += [
            "",
            "! Several series answer to one selector: add a tag or a field to it until one is left:",
            f"  {', '.join(signal.signal for signal in report.ambiguous)}",
        ]
    if report.missing:
        lines += ["", f"Signals that are not found ({len(report.missing)}):"]
        for signal in report.missing:
            lines.append(f"   {signal.signal}: looked for {' or '.join(signal.looked_for)}")
            lines += [f"      perhaps {point}" for point in signal.nearest]
    others = [one for one in report.series if not one.signals]
    if others:
        lines += ["", f"Series that no signal uses ({len(others)}; + is kept as `extra`):"]
        lines += [
            f" {'+' if one.point in report.kept else ' '} {one.last:>12.12}  {_shown(one.time)}  {one.point}"
            for one in others
        ]
    return "\n".join([*lines, ""])


def _shown(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M")
