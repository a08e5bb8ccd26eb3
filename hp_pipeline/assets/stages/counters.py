"""Readings of all inputs → tables `counters`, `counter_ledger`, `counter_states`, by UTC day.

A day is counted on from how the counters stood at the end of the day before it (`counter_states`: the nearest day that
is stored, so that weeks of silence are one interval), and by the readings of the day itself and of the next stored one,
which can tell that a reading was wrong. Where a day is made again and its end is another, the day after it is due too,
and so on until an end stays the same: the days may come in any order, and a new one costs the same at any age.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta
from functools import partial

import polars as pl

from hp_pipeline.assets.stages.stage import (
    Listing,
    Outcome,
    Progress,
    Stage,
    between,
    by_day,
    day_of,
    midnight,
    shifted,
)
from hp_pipeline.assets.workspace import Plant
from hp_pipeline.lake import DamagedPartitionError, content_of
from hp_pipeline.settings.house import CounterVerdict
from hp_pipeline.transforms import counters, told
from hp_pipeline.transforms.counters import Counted, View
from hp_pipeline.transforms.schema import conform
from hp_pipeline.vocabulary.counters import OwnersWord
from hp_pipeline.vocabulary.profiles import Profile, Teller
from hp_pipeline.vocabulary.tables.counters import FIRST_OF_METERS

_STATES = "counter_states"


class CountersStage(Stage):
    """Readings of all inputs → what their counters counted."""

    tables = ("counters", "counter_ledger", _STATES)
    version = 3

    def __init__(self, plant: Plant, listing: Listing | None = None) -> None:
        super().__init__(plant, listing)
        self._fingerprints: dict[str, str] = {}
        self._contents: dict[str | None, str] = {}
        """Of the states that are made but not stored yet, the content."""

    def candidates(self, first: date | None, last: date | None) -> set[str]:
        """Days with readings; within a range also the two that were read before it, whose verdicts it may change."""
        found: set[str] = set()
        for asset in self.plant.readings:
            listed = self.listed(asset)
            found.update(between(listed, first, last, 0))
            if first is not None:
                before = bisect.bisect_left(listed, first.isoformat())
                found.update(listed[max(before - 2, 0) : before])
        return found

    def _ends(self, first: date, last: date) -> set[str]:
        """The day made before that follows on the range: it is counted on from there."""
        listed = self.stored
        return set(listed[bisect.bisect_right(listed, last.isoformat()) :][:1])

    def is_wanted(self, key: str) -> bool:
        return any(self.has(asset, key) for asset in self.plant.readings)

    def inputs(self, key: str) -> Iterable[tuple[str, str]]:
        for asset in self.plant.readings:
            yield asset, key
            following = self._following(asset, key)
            if following is not None:
                yield asset, following

    def _following(self, asset: str, key: str, places: int = 1) -> str | None:
        """The next stored partition of readings, or one some places further."""
        listed = self.listed(asset)
        place = bisect.bisect_right(listed, key) + places - 1
        return listed[place] if place < len(listed) else None

    def shape(self, key: str) -> str:
        follows = [self._following(asset, key, 2) is not None for asset in self.plant.readings]
        rules = (self.plant.rules.session_gap, self.plant.heat_pump.rated_power_kw, self.plant.time_zone)
        sources = [source for source, _ in self.plant.inputs]
        return repr((self.plant.profile_words, sources, rules, follows, self._words_at(key), self._begins_as(key)))

    def _words_at(self, key: str) -> list[CounterVerdict]:
        """What the owner says of readings behind those that the day is counted on from, up to the last that can change
        its verdicts."""
        last = max(self._following(asset, key) or key for asset in self.plant.readings)
        until = midnight(day_of(last) + timedelta(days=1))
        before = self._before(key)
        told = [one for one in self.plant.heat_pump.counter_verdicts if one.at < until]
        return [one for one in told if before is None or (one.until or one.at) >= midnight(day_of(before))]

    def _words_of(self, source: str, signal: str, point: str) -> tuple[OwnersWord, ...]:
        return tuple(
            sorted(
                (
                    told.word
                    for told in self.plant.heat_pump.counter_verdicts
                    if told.signal in {None, signal} and told.point in {None, point} and told.source in {None, source}
                ),
                key=lambda word: word.at,
            )
        )

    def _before(self, key: str) -> str | None:
        """The nearest day before that is made."""
        if (yesterday := shifted(key, -1)) in self._contents:
            return yesterday
        listed = self.listed(self.asset(_STATES))
        place = bisect.bisect_left(listed, key)
        return listed[place - 1] if place else None

    def _states(self, key: str) -> pl.DataFrame:
        """How the counters stood before a day; as if they had never been read, where no day before it can be read."""
        before = self._before(key)
        try:
            rows = None if before is None else self.lake.read(self.asset(_STATES), [before])
        except DamagedPartitionError:
            rows = None
        return conform(rows, _STATES)

    def _begins_as(self, key: str) -> str | None:
        """The content of what `_states` reads."""
        before = self._before(key)
        if before in self._contents:
            return self._contents[before]
        receipt = None if before is None else self.lake.receipt(self.asset(_STATES), before)
        return receipt.content if receipt else None

    def bring_up_to_date(
        self, keys: Sequence[str], force: bool = False, progress: Progress = lambda count: None
    ) -> Outcome:
        """As every stage, but in the order of the days, and on to those that the days before them have made due."""
        outcome = Outcome()
        waiting = []
        for key in sorted(set(keys)):
            if self.is_wanted(key):
                waiting.append(key)
            else:
                self._remove(key, outcome)
                progress(1)
        asked = set(waiting)
        while waiting:
            stretch, passed = self._next_stretch(waiting, force and waiting[0] in asked)
            outcome.kept += passed
            progress(passed)
            waiting = waiting[passed + len(stretch) :]
            if not stretch:
                continue
            self._make_and_store(stretch, self._fingerprints, outcome)
            progress(sum(key in asked for key in stretch))
            behind = bisect.bisect_right(self.listed(self.asset(_STATES)), stretch[-1])
            following = self.listed(self.asset(_STATES))[behind : behind + 1]
            if following and following != waiting[:1] and self.is_wanted(following[0]):
                waiting = [*following, *waiting]
        return outcome

    def _next_stretch(self, waiting: Sequence[str], force: bool) -> tuple[list[str], int]:
        """The next days that are made at once, and how many before them are up to date."""
        passed = 0
        stretch: list[str] = []
        for key in waiting:
            if stretch and not self.belongs(key, stretch):
                break
            if force or not self._is_current(key, self.fingerprint(key)):
                stretch.append(key)
            elif stretch:
                break
            else:
                passed += 1
        return stretch, passed

    def _make_and_store(self, stretch: Sequence[str], fingerprints: Mapping[str, str], outcome: Outcome) -> None:
        super()._make_and_store(stretch, fingerprints, outcome)
        for key in stretch:
            self._contents.pop(key, None)

    def make(self, keys: Sequence[str], outcome: Outcome) -> dict[str, dict[str, pl.DataFrame]]:
        states = self._states(keys[0])
        taken: dict[Teller, int] = {}
        parts = []
        done: set[tuple[str, str, str]] = set()
        # A point that two inputs of one source read is the meter's.
        for source, profile in sorted(self.plant.inputs, key=lambda entry: not entry[1].metered):
            own = states.filter(pl.col("source") == source)
            before = {
                name: taken.get(profile.teller(name), FIRST_OF_METERS if name in profile.metered else 0)
                for name in profile.mappings
            }
            parts.append(self._counted(source, profile, keys, own, before, done))
            for name, mapping in profile.mappings.items():
                places = 1 if mapping.summed else len(mapping.selectors)
                taken[profile.teller(name)] = before[name] + places
        increments, ledger, ends = (
            pl.concat([getattr(part, name) for part in parts]).with_columns(heat_pump=pl.lit(self.plant.id))
            for name in ("increments", "ledger", "states")
        )
        whose = ["source", "signal", "point"]
        marks = dict.fromkeys(keys, conform(None, _STATES))
        for (day,), rows in ends.sort(whose).partition_by("day", as_dict=True).items():
            marks[str(day)] = conform(rows, _STATES)
        made = {
            "counters": by_day(increments.sort(["end", *whose]), keys, "end"),
            "counter_ledger": by_day(ledger.sort(["time", *whose, "kind"]), keys, "time"),
            _STATES: marks,
        }
        for key in keys:
            self._fingerprints[key] = self.fingerprint(key)
            self._contents[key] = content_of(marks[key])
        return made

    def _counted(
        self,
        source: str,
        profile: Profile,
        keys: Sequence[str],
        states: pl.DataFrame,
        before: Mapping[str, int],
        done: set[tuple[str, str, str]],
    ) -> Counted:
        asset = f"readings/{source}"
        view = self._view(asset, keys)
        days = [key for key in self.listed(asset) if keys[0] <= key < max(view.until).date().isoformat()]
        rows = self.lake.read(asset, days, columns=["point", "time", "value", "text", "origin"])
        readings = conform(rows, "readings")
        selectors = [
            selector for mapping in profile.mappings.values() if mapping.counter for selector in mapping.selectors
        ]
        series = told.full_series(
            readings,
            lambda point: point == counters.DEVICE_POINT or any(selector.matches(point) for selector in selectors),
        )
        points = {*series["point"].unique(), *states["point"]}
        found = []
        for counter in counters.counters_of(
            source, self._rated(profile), before, points, partial(self._words_of, source)
        ):
            whose = (source, counter.mapping.signal.name, counter.point)
            if whose not in done:
                found.append(counter)
                done.add(whose)
        live = readings.filter(pl.col("origin").is_null())
        return counters.count(found, series, live["time"].unique().sort(), states, view)

    def _view(self, asset: str, keys: Sequence[str]) -> View:
        until = []
        for key in keys:
            following = self._following(asset, key) or key
            until.append(midnight(day_of(following) + timedelta(days=1)))
        return View(
            keys=[day_of(key) for key in keys],
            until=until,
            more_follows=[self._following(asset, key, 2) is not None for key in keys],
            time_zone=self.plant.time_zone,
            session_gap=self.plant.rules.session_gap,
        )

    def _rated(self, profile: Profile) -> Profile:
        """The profile, its counters of energy bounded by what a heat pump of this power and its heating rod can do."""
        rated = self.plant.heat_pump.rated_power_kw
        if rated is None:
            return profile
        bounded = {}
        for name, mapping in profile.mappings.items():
            rule = mapping.counter
            if rule and rule == mapping.signal.counter and mapping.signal.unit == "kWh":
                most = min(rule.most_per_hour, 2 * rated + 10)
                bounded[name] = replace(mapping, counter=replace(rule, most_per_hour=most))
        return replace(profile, mappings={**profile.mappings, **bounded})
