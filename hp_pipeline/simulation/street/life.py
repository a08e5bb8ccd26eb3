"""The life of a house: one trajectory from its first day on, made as far as it is needed and made again when asked.

It is kept as a chain of stretches, mostly of a local day. Of each only what it begins with is stored, which is enough
to make it again to the last bit: a street that was stopped goes on as if it had not been, and a year takes some
hundred kilobytes.

A stretch may be lived faster than the wall clock: at speed 60 a minute on the wall is an hour in the house. Its
physics is that of the hour, powers and temperatures are as they are, but it lasts a minute, and so all energies and
hours of operation that its devices count are those of a minute. So power times time is energy at every speed.
"""

from __future__ import annotations

import json
import math
import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import numpy as np

from hp_pipeline.simulation.devices.world import SECONDS_PER_HOUR, WATT_PER_KW, Ending, House, State, Stop
from hp_pipeline.simulation.house import HouseState, Trajectory, simulate
from hp_pipeline.simulation.parameters import Parameters
from hp_pipeline.simulation.weather import simulate_weather

SPEEDS: Final = (1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30, 60)
"""How fast houses can live: hours in the house per hour on the wall."""
SETTLING: Final = timedelta(days=3)
MOST_AT_ONCE: Final = 3
"""Stretches of a house that are held in memory."""
_MINUTE: Final = timedelta(minutes=1)


def step_s(speed: int) -> int:
    """Seconds in the house of one simulated step at a speed; on the wall it is a `speed`th of it, whole seconds.

    Raises:
        ValueError: nobody can live at this speed.
    """
    if speed not in SPEEDS:
        raise ValueError(f"a speed of {speed} is not possible; use {', '.join(map(str, SPEEDS))}")
    return speed * next(count for count in (10, 5, 2, 1) if 60 % (speed * count) == 0)


@dataclass(frozen=True)
class Stretch:
    """A part of a life: what it begins with.

    Attributes:
        told: its begin on the wall, unix s.
        lived: its begin in the house, unix s: what the weather, the people and the sun go by.
        speed: how fast it is lived.
        steps: of the simulation.
        state: of the house at its begin; None: a settled house.
        before: what counters and states show at its begin; None: nothing yet.
    """

    told: int
    lived: int
    speed: int
    steps: int
    state: HouseState | None
    before: Ending | None

    @property
    def told_step(self) -> int:
        """Seconds on the wall of a step."""
        return step_s(self.speed) // self.speed

    @property
    def told_end(self) -> int:
        """Its end on the wall, unix s."""
        return self.told + self.steps * self.told_step

    @property
    def lived_end(self) -> int:
        """Its end in the house, unix s."""
        return self.lived + self.steps * step_s(self.speed)


class Life:
    """What happens in a house, from `start` on; it may be asked from several threads.

    Args:
        parameters: what stands there.
        seed: of the weather (the same for a whole street).
        own_seed: of the people in this house.
        path: where the chain is kept; made if it is not there.
        start: begin of a new life, to the minute.

    Raises:
        ValueError: the file belongs to another house, or there is none and no start.
    """

    def __init__(
        self, parameters: Parameters, seed: int, own_seed: int, path: Path, start: datetime | None = None
    ) -> None:
        self.parameters = parameters
        self.own_seed = own_seed
        self._seed = seed
        self._path = path
        self._lock = threading.RLock()
        self._made: OrderedDict[int, House] = OrderedDict()
        self._stretches: list[Stretch] = []
        self._next: Stretch
        if path.exists():
            self._load()
        elif start is None:
            raise ValueError(f"there is no life in {path}, and no start for a new one")
        else:
            begin = int(start.timestamp()) // 60 * 60
            self._next = Stretch(begin, begin, 1, 0, None, None)
            self._save()
        self._begins = [stretch.told for stretch in self._stretches]

    # ---- its course

    @property
    def start(self) -> datetime:
        """Begin of its life."""
        first = self._stretches[0] if self._stretches else self._next
        return datetime.fromtimestamp(first.told, UTC)

    @property
    def end(self) -> datetime:
        """As far as it is made."""
        return datetime.fromtimestamp(self._next.told, UTC)

    @property
    def stretches(self) -> Sequence[Stretch]:
        """All that were made."""
        return tuple(self._stretches)

    def grow(self, until: datetime, speed: int = 1) -> Iterator[House]:
        """Go on living until a moment at least, in stretches that end at local midnights; each is given as it is made.

        Stretches lived faster are an hour long at most.
        """
        while self.end < until:
            with self._lock:
                begin = self._next
                told_step = step_s(speed) // speed
                seconds = self._midnight_after(begin.told) - begin.told
                if speed > 1:
                    seconds = min(seconds, 3600)
                stretch = replace(begin, speed=speed, steps=seconds // told_step)
                house = self._make(stretch)
                self._append(stretch, house)
            yield house
        with self._lock:
            self._save()

    def cut(self, moment: datetime) -> None:
        """Forget what was made beyond a moment (to the next minute), so that it can be lived at another speed."""
        told = math.ceil(moment.timestamp() / 60) * 60
        with self._lock:
            if told >= self._next.told:
                return
            place = bisect_right(self._begins, told) - 1
            last = self._stretches[place]
            del self._stretches[place:], self._begins[place:]
            self._made.clear()
            self._next = replace(last, steps=0)
            if last.told < told:
                stretch = replace(last, steps=(told - last.told) // last.told_step)
                self._append(stretch, self._make(stretch))
            self._save()

    def _append(self, stretch: Stretch, house: House) -> None:
        self._stretches.append(stretch)
        self._begins.append(stretch.told)
        self._next = Stretch(stretch.told_end, stretch.lived_end, stretch.speed, 0, house.run.end, house.ending())
        self._keep(len(self._stretches) - 1, house)

    def _midnight_after(self, told: int) -> int:
        zone = ZoneInfo(self.parameters.time_zone)
        day = datetime.fromtimestamp(told, zone).date() + timedelta(days=1)
        return int(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp())

    def _make(self, stretch: Stretch) -> House:
        """The house of a stretch: simulated in the time of the house, told in that of the wall."""
        begin = datetime.fromtimestamp(stretch.lived, UTC)
        end = datetime.fromtimestamp(stretch.lived_end, UTC)
        settling = timedelta(0) if stretch.state else SETTLING
        weather = simulate_weather(begin - settling, end, step_s=step_s(stretch.speed), seed=self._seed)
        run = simulate(self.parameters, weather, self.own_seed, settling=settling, begin=stretch.state)
        return House(replace(run, start_s=stretch.told, step_s=stretch.told_step), before=stretch.before)

    def _house(self, place: int) -> House:
        with self._lock:
            house = self._made.get(place)
            if house is None:
                house = self._make(self._stretches[place])
            self._keep(place, house)
            return house

    def _keep(self, place: int, house: House) -> None:
        self._made[place] = house
        self._made.move_to_end(place)
        while len(self._made) > MOST_AT_ONCE:
            self._made.popitem(last=False)

    def _place(self, moment: datetime) -> int:
        if not self.start <= moment < self.end:
            raise ValueError(
                f"{moment.isoformat()} lies outside of what was lived ({self.start.isoformat()} to "
                f"{self.end.isoformat()})"
            )
        return bisect_right(self._begins, moment.timestamp()) - 1

    # ---- what its devices see

    def at(self, moment: datetime) -> State:
        """What holds at a moment.

        Raises:
            ValueError: the moment lies outside of what was made.
        """
        with self._lock:
            state = self._house(self._place(moment)).at(moment)
        day_before = max(self.start, moment - timedelta(days=1))
        hours = (moment - day_before).total_seconds() / SECONDS_PER_HOUR
        if hours > 1:
            warmth = state.number("outdoor_degree_hours_total") - self._roughly(
                "outdoor_degree_hours_total", day_before
            )
            return State({**state, "outdoor_temperature_24h": warmth / hours})
        return state

    def counter(self, name: str, moment: datetime) -> float:
        """What an energy or time counter (kWh, h) shows at a moment.

        Raises:
            ValueError: the moment lies outside of what was made.
        """
        with self._lock:
            place = self._place(moment)
            stretch = self._stretches[place]
            if moment.timestamp() == stretch.told:
                return stretch.before.counters.get(name, 0.0) if stretch.before else 0.0
            return self._house(place).counter(name, moment)

    def _roughly(self, name: str, moment: datetime) -> float:
        """A counter as if it rose evenly through a stretch: nothing has to be made again for it."""
        place = self._place(moment)
        stretch = self._stretches[place]
        after = self._stretches[place + 1] if place + 1 < len(self._stretches) else self._next
        first = stretch.before.counters[name] if stretch.before else 0.0
        last = after.before.counters[name] if after.before else first
        share = (moment.timestamp() - stretch.told) / (stretch.told_end - stretch.told)
        return first + (last - first) * share

    def mean_power(self, name: str, start: datetime, stop: datetime) -> float:
        """Mean of a counter's rate in [start, stop), in W."""
        seconds = (stop - start).total_seconds()
        risen = self.counter(name, stop) - self.counter(name, start)
        return risen * SECONDS_PER_HOUR / seconds * WATT_PER_KW if seconds > 0 else 0.0

    def stops(self, moment: datetime, count: int) -> list[Stop]:
        """The newest `count` stops of the compressor before a moment, the newest first; of the last three stretches."""
        place = self._place(moment)
        found: list[Stop] = []
        for back in range(place, max(-1, place - MOST_AT_ONCE), -1):
            house = self._house(back)
            found += house.stops(moment if back == place else house.end - timedelta(seconds=1), count - len(found))
            if len(found) >= count:
                break
        return found

    def houses(self, start: datetime, stop: datetime) -> Iterator[House]:
        """The houses of all stretches that have a part in [start, stop)."""
        for place, stretch in enumerate(self.stretches):
            if stretch.told < stop.timestamp() and stretch.told_end > start.timestamp():
                yield self._house(place)

    def run(self, start: datetime, stop: datetime) -> Trajectory:
        """What happened in [start, stop), as one run; its step is one that all stretches in it are made of."""
        runs = [house.run for house in self.houses(start, stop)]
        if not runs:
            raise ValueError(f"nothing was lived between {start.isoformat()} and {stop.isoformat()}")
        step = math.gcd(*(run.step_s for run in runs))
        first, last = max(int(start.timestamp()), runs[0].start_s), int(stop.timestamp())
        arrays: dict[str, Any] = {}
        for name in (field.name for field in fields(runs[0])):
            if isinstance(getattr(runs[0], name), np.ndarray):
                whole = np.concatenate([np.repeat(getattr(run, name), run.step_s // step) for run in runs])
                arrays[name] = whole[(first - runs[0].start_s) // step : (last - runs[0].start_s) // step]
        return replace(runs[-1], start_s=first, step_s=step, **arrays)

    # ---- on disk

    def _save(self) -> None:
        written = {
            "house": self.parameters.name,
            "seeds": [self._seed, self.own_seed],
            "stretches": [asdict(stretch) for stretch in [*self._stretches, self._next]],
        }
        self._path.parent.mkdir(parents=True, exist_ok=True)
        beside = self._path.with_name(f".{self._path.name}.partial")
        beside.write_text(json.dumps(written), encoding="utf-8")
        beside.replace(self._path)

    def _load(self) -> None:
        kept = json.loads(self._path.read_text(encoding="utf-8"))
        if (kept["house"], kept["seeds"]) != (self.parameters.name, [self._seed, self.own_seed]):
            raise ValueError(f"{self._path} is the life of another house ({kept['house']})")
        *self._stretches, self._next = (
            Stretch(
                **{
                    **entry,
                    "state": HouseState(**entry["state"]) if entry["state"] else None,
                    "before": Ending(**entry["before"]) if entry["before"] else None,
                }
            )
            for entry in kept["stretches"]
        )
