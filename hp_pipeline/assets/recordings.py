"""What others recorded of a device, taken into the readings of its source: as if it had been polled then."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from hp_pipeline.assets.stages import store_readings
from hp_pipeline.assets.workspace import Workspace
from hp_pipeline.lake import Receipt
from hp_pipeline.settings import LuxtronikSource
from hp_pipeline.sources.luxtronik.imports import import_logger_cache, import_recording, is_sqlite
from hp_pipeline.sources.readings import Rejects


@dataclass
class TakenRecording:
    """What became of one recording.

    Attributes:
        path: the file or folder.
        readings: how many were taken.
        first, last: times of the first and the last of them; None without any.
        rejects: what could not be taken, and why.
        changed: the partitions that it changed, by key; none the second time.
    """

    path: Path
    readings: int = 0
    first: datetime | None = None
    last: datetime | None = None
    rejects: Rejects = field(default_factory=Rejects)
    changed: dict[str, Receipt] = field(default_factory=dict)


def take_in_luxtronik(
    workspace: Workspace,
    source: LuxtronikSource,
    path: Path,
    now: datetime,
    *,
    time: datetime | None = None,
    time_zone: str | None = None,
) -> TakenRecording:
    """Take one recording of a Luxtronik controller into the readings of its source. Repeating it changes nothing.

    Args:
        workspace: settings and data.
        source: the controller.
        path: a dump (raw answers, JSON, text) or the cache of luxtronik-logger.
        now: the present; readings that lie ahead are turned away.
        time: when a dump was made; without it what the controller's clock said.
        time_zone: of the machine that recorded; the site's without it.

    Raises:
        RecordingError: it is no such recording; nothing of it was taken.
    """
    taken = TakenRecording(path)
    zone = time_zone or workspace.settings.site.time_zone
    if is_sqlite(path):
        frames = import_logger_cache(path, taken.rejects, time_zone=zone)
    else:
        frames = iter([import_recording(path, taken.rejects, time=time, time_zone=zone)])
    begin = datetime.combine(workspace.settings.site.start, datetime.min.time(), UTC)
    end = now + workspace.settings.rules.future_tolerance
    for whole in _whole_days(_believed(frames, begin, end, taken.rejects)):
        taken.readings += whole.height
        first: datetime = whole["time"].min()  # type: ignore[assignment]
        last: datetime = whole["time"].max()  # type: ignore[assignment]
        taken.first = first if taken.first is None else min(taken.first, first)
        taken.last = last if taken.last is None else max(taken.last, last)
        taken.changed |= store_readings(workspace, source.id, whole)
    return taken


def _believed(
    frames: Iterable[pl.DataFrame], begin: datetime, end: datetime, rejects: Rejects
) -> Iterator[pl.DataFrame]:
    """Readings between the site's start and now. Of the past, events that a controller remembers are passed over."""
    for frame in frames:
        # The rings of errors reach back for years, to before the site's start: that is no mistake of the recording.
        event = pl.col("point").str.starts_with("event/")
        rejects.add_rows(
            frame.filter((pl.col("time") < begin) & ~event),
            f"before the first day of the site ({begin:%Y-%m-%d}); an earlier `site.start` takes them",
        )
        ahead = frame.filter(pl.col("time") > end)
        rejects.add_rows(ahead, "in the future: the clock of the device or of the recorder was wrong")
        yield frame.filter(pl.col("time").is_between(begin, end))


def _whole_days(frames: Iterable[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """The same readings, cut at UTC midnights where that is possible, so that a partition is written about once."""
    kept: list[pl.DataFrame] = []
    for frame in frames:
        if frame.is_empty():
            continue
        kept.append(frame)
        newest: datetime = frame["time"].max()  # type: ignore[assignment]
        midnight = datetime(newest.year, newest.month, newest.day, tzinfo=UTC)
        joined = pl.concat(kept)
        done = joined.filter(pl.col("time") < midnight)
        if done.height:
            yield done
            joined = joined.filter(pl.col("time") >= midnight)
        kept = [joined]
    if kept:
        yield pl.concat(kept)


def describe_recording(taken: TakenRecording) -> str:
    """What became of a recording, in a sentence."""
    turned_away = f" ({taken.rejects.summary()})" if taken.rejects else ""
    if not taken.readings:
        return f"{taken.path.name}: no readings{turned_away}"
    changed = f"{len(taken.changed)} days changed" if taken.changed else "nothing new"
    return (
        f"{taken.path.name}: {taken.readings:,} readings from {taken.first:%Y-%m-%d %H:%M} to "
        f"{taken.last:%Y-%m-%d %H:%M} UTC, {changed}{turned_away}"
    )
