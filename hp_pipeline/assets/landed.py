"""Readings of live sources as assets: what has landed is merged into the lake; gaps are asked for again."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

import dagster as dg
import polars as pl

from hp_pipeline.assets.describe import asset_key, spec
from hp_pipeline.assets.partitions import BEAT
from hp_pipeline.assets.stages import store_readings
from hp_pipeline.assets.workspace import Workspace
from hp_pipeline.lake import Receipt
from hp_pipeline.landing.drain import Drained, drain
from hp_pipeline.landing.ledger import CallLedger
from hp_pipeline.landing.service import live_source
from hp_pipeline.landing.store import FILE, Landing, micros
from hp_pipeline.settings import Source
from hp_pipeline.sources.live import ListeningSource, Polled, PolledSource, PollError, RemembersHistory
from hp_pipeline.sources.registry import REMEMBERS, is_live
from hp_pipeline.transforms.schema import UTC as UTC_TIME
from hp_pipeline.vocabulary.durations import format_duration

HISTORY = "history"
"""Origin of readings that a source was asked for later, out of its own memory."""

REPAIR_CHUNK = timedelta(hours=6)
"""So much of a gap is asked for at once: what fails in the midst goes on from there."""

REPAIR_REACH = timedelta(days=14)
"""Gaps that began longer ago are left: no device remembers so far."""

REPAIR_AFTER = timedelta(minutes=5)
"""A gap is asked for so long after its end: devices write what they remember late, its newest minutes last."""

REPAIR_ATTEMPTS = 5
"""How often a gap is asked for again when that fails, or gives nothing, or a part only."""

_PART = "part"
"""Outcome of a repair that did not bring all that a source remembers of such a stretch."""


def live_sources(workspace: Workspace) -> list[Source]:
    """The sources of the settings whose readings come through the landing."""
    return [source for source in workspace.settings.sources if is_live(source)]


def remembers(source: Source) -> bool:
    """Whether a source can be asked for readings that were missed."""
    return source.kind in REMEMBERS


def readings_of(drained: Drained) -> pl.DataFrame:
    """The rows as a frame: `point`, `time`, `value`, `text`."""
    return pl.DataFrame(
        {
            "point": pl.Series(drained.points, dtype=pl.String),
            "time": pl.Series(drained.times, dtype=pl.Int64).cast(UTC_TIME),
            "value": pl.Series(drained.values, dtype=pl.Float64),
            "text": pl.Series(drained.texts, dtype=pl.String),
        }
    )


@dataclass
class Brought:
    """What bringing landed readings into the lake did.

    Attributes:
        changed: receipts of the partitions whose content has changed, by key.
        polls: how many good polls were brought.
        readings: how many rows they made.
        refused: how many readings were left out, because their own time is in the future or before the site's start.
    """

    changed: dict[str, Receipt] = field(default_factory=dict)
    polls: int = 0
    readings: int = 0
    refused: int = 0


def bring(workspace: Workspace, source: str, since: date | None = None) -> Brought:
    """Bring into the lake what of a source has landed since the last time; then the landing is told so.

    Killed at any moment, it is done again from where the landing was told last, which changes nothing that is right.

    Args:
        since: bring also what is in the lake already and still landed, from this UTC day on.

    Raises:
        LandingError: the landing cannot be read, or not be told.
        StorageError: the lake cannot be written.
    """
    brought = Brought()
    if not (workspace.data / FILE).exists():
        return brought
    start = _midnight(workspace.settings.site.start)
    with Landing(workspace.data) as landing:
        after = landing.drained(source)
        if since is not None:
            after = min(after, landing.before(source, _midnight(since)))
        newest = landing.newest().get(source, 0)
        for piece in drain(landing, source, after, newest):
            rows = readings_of(piece)
            believed = rows.filter(pl.col("time") >= start)
            brought.changed |= store_readings(workspace, source, believed)
            brought.polls += piece.polls
            brought.readings += believed.height
            brought.refused += piece.refused + rows.height - believed.height
            landing.set_drained(source, piece.through)
        # What follows are failed polls, if anything: they bear no readings.
        landing.set_drained(source, newest)
    return brought


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def landed_asset(workspace: Workspace, source: Source, days: dg.DailyPartitionsDefinition) -> dg.AssetsDefinition:
    """The readings of one live source."""
    every: timedelta | None = getattr(source, "every", None)
    beat = workspace.settings.automation.beat
    pace = f"asked every {format_duration(every)}" if every else "which speaks by itself"
    described = spec(
        "readings",
        source.id,
        f"Readings of {source.kind} {source.id}, {pace}. The collector writes them to the landing at once; they come "
        f"here every {format_duration(beat)}, a row where a value changed; `@poll` says when anything was told.",
        partitions=days,
        freshness=dg.FreshnessPolicy.time_window(
            fail_window=max(6 * beat, timedelta(hours=2)), warn_window=max(3 * beat, timedelta(minutes=45))
        ),
        kinds=frozenset({source.kind, "sqlite", "parquet"}),
    )

    @dg.multi_asset(
        name=f"readings__{source.id}",
        specs=[described],
        backfill_policy=dg.BackfillPolicy.single_run(),
        pool=f"source_{source.id}",
    )
    def readings(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[Any]]:
        keys = context.partition_keys
        # A person who asks for a day wants all that is landed of it; a beat wants what is new.
        since = None if BEAT in context.run.tags else date.fromisoformat(keys[0])
        brought = bring(workspace, source.id, since)
        workspace.publish()
        for key in sorted({*keys, *brought.changed}):
            receipt = workspace.lake.receipt(f"readings/{source.id}", key)
            if receipt is None:
                continue
            about = {"dagster/partition_row_count": receipt.rows, "changed": key in brought.changed}
            if key in keys:
                context.add_asset_metadata(about, asset_key=described.key, partition_key=key)
            else:
                context.log_event(dg.AssetMaterialization(described.key, partition=key, metadata=about))
        yield dg.MaterializeResult(
            asset_key=described.key,
            metadata={
                "polls": brought.polls,
                "rows": brought.readings,
                "partitions_changed": len(brought.changed),
                "refused": brought.refused,
            },
        )

    return readings


@dataclass
class Repaired:
    """What asking for gaps again did.

    Attributes:
        changed: receipts of the partitions whose content has changed, by key.
        gaps: how many gaps were asked for.
        readings: how many readings came.
        problems: what went wrong, by gap.
    """

    changed: dict[str, Receipt] = field(default_factory=dict)
    gaps: int = 0
    readings: int = 0
    problems: list[str] = field(default_factory=list)


def open_gaps(landing: Landing, source: Source, now: datetime) -> list[tuple[datetime, datetime]]:
    """Stretches in which polls of a source were missed, and for which it was not asked again yet (or not often enough
    in vain, or with part of it missing). One that goes on now waits until it has ended, and `REPAIR_AFTER` longer."""
    every: timedelta = getattr(source, "every", None) or timedelta(minutes=1)
    longer = max(3 * every, timedelta(minutes=3))
    tried = landing.repaired(source.id)
    found = []
    for start, stop in landing.gaps(source.id, longer, now - REPAIR_REACH, now):
        outcome, readings, attempts = tried.get(micros(start), ("", 0, 0))
        if stop <= now - REPAIR_AFTER and attempts < REPAIR_ATTEMPTS and not (outcome == "ok" and readings):
            found.append((max(start, now - REPAIR_REACH), stop))
    return found


def repair(workspace: Workspace, source: Source, now: datetime, say: Callable[[str], None]) -> Repaired:
    """Ask a source that remembers for the readings of its gaps; they are marked with the origin `history`."""
    done = Repaired()
    with Landing(workspace.data) as landing:
        for start, stop in open_gaps(landing, source, now):
            done.gaps += 1
            count, times = 0, set[datetime]()
            try:
                for polled in _history(workspace, source, landing, start, stop):
                    frame = _remembered(polled, start, stop)
                    count += frame.height
                    times.update(frame["time"].to_list())
                    done.changed |= store_readings(workspace, source.id, frame)
                outcome = "ok" if len(times) >= _remembered_in(source, start, stop) else _PART
            except PollError as error:
                outcome = str(error.outcome)
                done.problems.append(f"{start:%Y-%m-%d %H:%M} to {stop:%Y-%m-%d %H:%M} UTC: {error}")
            done.readings += count
            landing.set_repaired(source.id, start, stop, outcome, count)
            say(f"{source.id}: {start:%Y-%m-%d %H:%M} to {stop:%H:%M} UTC asked for again: {outcome}, {count} readings")
    return done


def _remembered_in(source: Source, start: datetime, stop: datetime) -> int:
    """At how many times in [start, stop) a source remembers readings that forgot none."""
    every = REMEMBERS[source.kind] // timedelta(microseconds=1)
    return -(-micros(stop) // every) - -(-micros(start) // every)


def _history(
    workspace: Workspace, source: Source, landing: Landing, start: datetime, stop: datetime
) -> Iterator[Polled]:
    """What a source remembers of [start, stop), a chunk at a time."""
    ledgers: dict[str, list[CallLedger]] = {}
    live = live_source(source, workspace.settings, landing, ledgers)
    live.load()
    with asyncio.Runner() as runner:

        async def opened() -> Any:
            return live.open()

        device: PolledSource | ListeningSource = runner.run(opened())
        try:
            begin = start
            while begin < stop and isinstance(device, RemembersHistory):
                end = min(begin + REPAIR_CHUNK, stop)
                yield from runner.run(_all(device, begin, end))
                begin = end
        finally:
            runner.run(device.close())


async def _all(device: RemembersHistory, start: datetime, stop: datetime) -> list[Polled]:
    chunks = device.history(start, stop)
    if isinstance(chunks, AsyncIterator):
        return [chunk async for chunk in chunks]
    return list(chunks)


def _remembered(polled: Polled, start: datetime, stop: datetime) -> pl.DataFrame:
    """The readings of a gap: those with a time in [start, stop)."""
    rows = [
        (reading.point, reading.time.astimezone(UTC), reading.value, reading.text)
        for reading in polled.readings
        if reading.time is not None
        and start <= reading.time < stop
        and (reading.value is None) != (reading.text is None)
    ]
    schema = {"point": pl.String(), "time": UTC_TIME, "value": pl.Float64(), "text": pl.String()}
    frame = pl.DataFrame(rows, schema=schema, orient="row").filter(
        pl.col("value").is_finite().fill_null(True)  # what is no number is no reading
    )
    return frame.with_columns(origin=pl.lit(HISTORY))


def repair_job(workspace: Workspace, source: Source) -> dg.JobDefinition:
    """A job that asks a source that remembers for what was missed."""

    @dg.op(name=f"repair_{source.id}_gaps", pool=f"source_{source.id}")
    def ask_again(context: dg.OpExecutionContext) -> None:
        done = repair(workspace, source, datetime.now(UTC), context.log.info)
        workspace.publish()
        for key, receipt in done.changed.items():
            context.log_event(
                dg.AssetMaterialization(
                    asset_key("readings", source.id),
                    partition=key,
                    metadata={"dagster/partition_row_count": receipt.rows, "origin": HISTORY},
                )
            )
        if done.problems:
            raise dg.Failure(description=" | ".join(done.problems[:5]))

    @dg.job(name=f"repair_{source.id}", description=f"Ask {source.id} for the readings that were missed")
    def repair_gaps() -> None:
        ask_again()

    return repair_gaps
