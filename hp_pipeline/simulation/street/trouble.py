"""What goes wrong with the devices of the street, the log of it, and how polls have to end that meet it.

Every fault that a server made is a line of `street/faults.jsonl`.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from hp_pipeline.simulation.street.plan import FOLDER

LOG: Final = "faults.jsonl"
_DURATION: Final = re.compile(r"([0-9]{1,6})(s|min|h)", re.ASCII)
_UNITS: Final = {"s": timedelta(seconds=1), "min": timedelta(minutes=1), "h": timedelta(hours=1)}
EXPECTED: Final[Mapping[str, Mapping[str, str]]] = {
    "luxtronik": {
        "stall": "timeout",
        "stall_midway": "timeout",
        "fragment": "ok",
        "close": "broken",
        "reset": "broken",
        "busy": "busy",
        "garbage": "broken",
        "stray_byte": "broken",
        "too_many": "broken",
        "none_at_all": "broken",
        "long": "broken",
        "short": "timeout",
        "sentinel": "ok",
        "counter_reset": "ok",
        "rollback": "ok",
        "clock_offset": "ok",
        "fewer_values": "ok",
    },
    "modbus": {
        "stall": "timeout",
        "slow": "ok",
        "fragment": "ok",
        "half": "broken",
        "close mid-answer": "broken",
        "garbage": "broken",
        "wrong length": "broken",
        "wrong unit": "broken",
        "wrong function": "broken",
        "busy": "busy",
        "device failure": "error",
        "gateway": "offline",
        "sentinel": "ok",
    },
    "viessmann": {
        "stall": "timeout",
        "fragment": "ok",
        "close": "broken",
        "drop": "broken",
        "wrong_length": "broken",
        "garbage": "broken",
        "html": "broken",
        "html_502": "busy",
        "busy": "busy",
        "error_500": "busy",
        "rate_limit_bare": "limited",
        "device_offline": "offline",
        "gateway_offline": "offline",
        "no_data": "broken",
        "sentinel": "ok",
        "torn_pair": "ok",
        "duplicate": "ok",
        "out_of_order": "ok",
        "expired": "ok",
    },
    "shelly": {
        "stall": "timeout",
        "close": "broken",
        "fragment": "ok",
        "reset": "broken",
        "garbage": "broken",
        "html": "broken",
        "not_a_number": "broken",
        "wrong_length": "broken",
        "starting": "busy",
        "counter_reset": "ok",
        "rollback": "ok",
        "swap": "ok",
        "clock_offset": "ok",
    },
    "mqtt": {
        "stall": "ok",
        "duplicate": "ok",
        "out_of_order": "ok",
        "garbage": "ok",
        "clock_offset": "ok",
    },
}
"""By kind of device what goes wrong with it, and how the poll that meets it has to end. Where that is `ok` nothing
needs to be seen of it in the polls: it is in what was told. The words are those of the outcomes of polls."""


@dataclass(frozen=True)
class Trouble:
    """A fault that a server made.

    Attributes:
        time: when, UTC.
        house: whose device.
        source: id of the source that reads it.
        kind: luxtronik, modbus, viessmann, shelly or mqtt.
        fault: what.
        detail: in which answer.
    """

    time: datetime
    house: str
    source: str
    kind: str
    fault: str
    detail: str = ""


@dataclass(frozen=True)
class Faults:
    """Which faults are to be made.

    Attributes:
        every: one every so often, at random; None: none.
        kinds: of these only (`kind:fault`); empty: of all.
    """

    every: timedelta | None = None
    kinds: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Faults:
        """Of a text such as `5min` or `5min luxtronik:busy shelly:stall`; `none` for none.

        Raises:
            ValueError: it says something else; the message says what is possible.
        """
        first, *kinds = text.split() or ["none"]
        if first == "none" and not kinds:
            return cls()
        number = _DURATION.fullmatch(first)
        if number is None or int(number[1]) == 0:
            raise ValueError(f"{first!r} is no time between faults: write none, or a duration such as 5min")
        known = [f"{kind}:{fault}".replace(" ", "_") for kind, faults in EXPECTED.items() for fault in faults]
        for kind in kinds:
            if kind not in known:
                raise ValueError(f"{kind!r} is not one of {', '.join(known)}")
        return cls(int(number[1]) * _UNITS[number[2]], tuple(kinds))

    def __str__(self) -> str:
        if self.every is None:
            return "none"
        return " ".join([f"{self.every.total_seconds():g}s", *self.kinds])


@dataclass
class Victim:
    """A server that can be told to make a fault.

    Attributes:
        house, source, kind: see `Trouble`.
        inject: makes a fault at the next occasion.
        made: what it made, newest last, as (time, fault, detail).
    """

    house: str
    source: str
    kind: str
    inject: Callable[[str], None]
    made: Callable[[], Sequence[tuple[datetime, str, str]]]
    logged: int = 0


class Troublemaker:
    """Makes faults at random, and logs those that were made.

    Args:
        data: the data folder.
        faults: what is to be made.
        victims: with what.
        seed: of the choice.
    """

    def __init__(self, data: Path, faults: Faults, victims: Sequence[Victim], seed: int = 1) -> None:
        self._path = data / FOLDER / LOG
        self._victims = victims
        self._random = random.Random(seed)
        self.every = faults.every
        self._choices = [
            (victim, fault)
            for victim in victims
            for fault in EXPECTED[victim.kind]
            if not faults.kinds or f"{victim.kind}:{fault}".replace(" ", "_") in faults.kinds
        ]

    def make(self) -> tuple[str, str] | None:
        """Let one fault be made; gives source and fault."""
        if not self._choices:
            return None
        victim, fault = self._random.choice(self._choices)
        victim.inject(fault)
        return victim.source, fault

    def log(self) -> int:
        """Write down what was made since the last time; gives how many that were."""
        lines = []
        for victim in self._victims:
            made = victim.made()
            for time, fault, detail in made[victim.logged :]:
                trouble = Trouble(time, victim.house, victim.source, victim.kind, fault, detail)
                lines.append(json.dumps(asdict(trouble), default=datetime.isoformat))
            victim.logged = len(made)
        if lines:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a", encoding="utf-8") as file:
                file.write("\n".join(lines) + "\n")
        return len(lines)


def troubles(data: Path) -> list[Trouble]:
    """All faults that the servers of a street made."""
    path = data / FOLDER / LOG
    if not path.exists():
        return []
    return [
        Trouble(**{**entry, "time": datetime.fromisoformat(entry["time"])})
        for entry in map(json.loads, path.read_text(encoding="utf-8").splitlines())
    ]
