"""From words on the wire to readings: numbers, texts, bits, and what follows from several registers.

Nothing is guessed: what a device marks as not available, what lies outside of its possible range, and what is no
number gives no reading and a reason.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from hp_pipeline.sources.live import Reading
from hp_pipeline.vocabulary.registers import Meter, Operation, Register, Sum

NOT_AVAILABLE: Final = "not available"
"""The device says itself that it has no value."""
NOT_POSSIBLE: Final = "outside its range"
NOT_A_NUMBER: Final = "not a number"
NOT_A_TEXT: Final = "not a text"
HELD: Final = "held until its parts agree"

_SIGNED: Final = frozenset({"int16", "int32", "int64"})


@dataclass(frozen=True)
class Decoded:
    """One register: its raw number (None for a text), what it means (None with a `reason`)."""

    raw: int | float | None
    value: float | str | None
    reason: str = ""


def decode(register: Register, words: Sequence[int]) -> Decoded:
    """What the words of a register mean.

    Args:
        register: which one.
        words: its words, 0 to 65535 (0 or 1 for a bit), in the order of the wire.

    Raises:
        ValueError: not as many words as the register takes.
    """
    if len(words) != register.words:
        raise ValueError(f"{register.name} takes {register.words} words, not {len(words)}")
    if register.type == "text":
        return _text(words)
    if register.pair:
        # One word that is not available voids the pair: the other one alone is not the counter.
        if any(word in register.invalid for word in words):
            return Decoded(None, None, NOT_AVAILABLE)
        raw: int | float = sum(word * factor for word, factor in zip(words, register.pair, strict=True))
    elif register.type == "bit":
        return Decoded(words[0], float(words[0]))
    else:
        packed = _bytes(register, words)
        if register.type in ("float32", "float64"):
            (raw,) = struct.unpack(">f" if register.type == "float32" else ">d", packed)
            if not math.isfinite(raw):
                return Decoded(None, None, NOT_A_NUMBER)
            if register.type == "float32":
                raw = _shortest(raw)
            if raw in register.invalid:
                return Decoded(raw, None, NOT_AVAILABLE)
        else:
            if int.from_bytes(packed, "big") in register.invalid:
                return Decoded(None, None, NOT_AVAILABLE)
            raw = int.from_bytes(packed, "big", signed=register.type in _SIGNED)
    if register.enum:
        return Decoded(raw, register.enum.get(int(raw), str(raw)))
    value = scaled(raw, register.scale, register.offset)
    if not math.isfinite(value):
        return Decoded(raw, None, NOT_A_NUMBER)
    too_low = register.minimum is not None and value < register.minimum
    too_high = register.maximum is not None and value > register.maximum
    return Decoded(raw, None, NOT_POSSIBLE) if too_low or too_high else Decoded(raw, value)


def scaled(raw: int | float, scale: float, offset: float) -> float:
    """raw * scale + offset as decimal arithmetic gives it: -34 * 0.1 is -3.4, not -3.4000000000000004."""
    if scale == 1.0 and offset == 0.0:
        return float(raw)
    return float(Decimal(repr(raw)) * Decimal(repr(scale)) + Decimal(repr(offset)))


def _bytes(register: Register, words: Sequence[int]) -> bytes:
    ordered = words if register.word_order == "big" else list(reversed(words))
    return b"".join(word.to_bytes(2, "big") for word in ordered)


def _shortest(value: float) -> float:
    """The shortest decimal that is the same float32: 21.3 and not 21.299999237060547."""
    for digits in range(6, 9):
        short = float(f"{value:.{digits}g}")
        # Near the largest float32 the shorter number may be none any more.
        if abs(short) <= 3.4028234e38 and struct.unpack(">f", struct.pack(">f", short))[0] == value:
            return short
    return value


def _text(words: Sequence[int]) -> Decoded:
    """Two characters a register, padded with zeros or blanks. Anything that cannot be printed is no text."""
    raw = b"".join(word.to_bytes(2, "big") for word in words).rstrip(b"\0 ").lstrip(b"\0 ")
    text = raw.decode("latin-1")
    if not text.isprintable():
        return Decoded(None, None, NOT_A_TEXT)
    return Decoded(None, text) if text else Decoded(None, None, NOT_AVAILABLE)


@dataclass
class Picture:
    """What was decoded in one poll.

    Attributes:
        values: what is known, by point.
        reasons: points without a value and why.
    """

    values: dict[str, float | str] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)

    def add(self, register: Register, words: Sequence[int]) -> None:
        """Decode a register and its bits."""
        found = decode(register, words)
        if found.value is None:
            self.reasons[register.name] = found.reason
            return
        self.values[register.name] = found.value
        if register.bits and found.raw is not None:
            # By shifting: a word's bits are numbered from the lowest.
            raw = int(found.raw)
            for bit, name in register.bits.items():
                self.values[f"{register.name}.{name}"] = float(raw >> bit & 1)

    def number(self, point: str) -> float | None:
        """The number of a point."""
        value = self.values.get(point)
        return value if isinstance(value, float) else None

    def derive(
        self,
        meters: Iterable[tuple[Meter, MeterState]],
        sums: Iterable[Sum],
        operations: Iterable[Operation],
        seconds: float,
    ) -> None:
        """Add what follows from several registers.

        Args:
            meters: with what is remembered of each; it is brought up to date.
            sums: counters that are added.
            operations: states told in bits.
            seconds: unix time of the poll.
        """
        for meter, state in meters:
            total, day = self.number(meter.total), self.number(meter.day)
            if total is None or day is None:
                continue
            reading = state.read(total, day, seconds, meter.most_per_hour)
            self.values[meter.name] = reading
            if state.held_since is not None:
                self.reasons[meter.name] = HELD
        for item in sums:
            parts = [self.number(part) for part in item.of]
            if all(part is not None for part in parts):
                self.values[item.name] = math.fsum(part for part in parts if part is not None)
        for operation in operations:
            word = self.number(operation.register)
            if word is not None:
                raw = int(word)
                self.values[operation.name] = next(
                    (name for bit, name in operation.order if raw >> bit & 1), operation.otherwise
                )

    def readings(self) -> list[Reading]:
        """The values as readings, sorted by point."""
        return [
            Reading(point, text=value) if isinstance(value, str) else Reading(point, value=value)
            for point, value in sorted(self.values.items())
        ]


@dataclass
class MeterState:
    """A meter that never falls, made of a total and the day's part, which the device adds to the total at midnight.

    The device changes the two words one after the other, and a poll may come between. Then total + day is short of
    a day (the day was cleared first) or has a day too much (it was added first), or by a whole magnitude wrong (a
    pair that rolled over half). max(previous, sum) would heal the first and keep the second for a whole day.
    Instead a reading counts when it can follow the last one, that is, in the time since:

    * the total stayed and the day did not fall, or
    * the total rose by the last day's part at least, and the day began again (it is less than what was added),

    and the sum did not fall and rose by no more than the meter can count (plus one unit of resolution for each
    word). What cannot follow is not believed, the last sum is held, for at most `HOLD_S`: what stays is a device
    that was reset or replaced, and is told as it is.

    Attributes:
        total, day: of the last reading that counted.
        at: its unix time; None before the first.
        held_since: unix time of the first reading that was not believed since.
    """

    HOLD_S: Final = 900.0
    RESOLUTION: Final = 2.0

    total: float = 0.0
    day: float = 0.0
    at: float | None = None
    held_since: float | None = None

    def read(self, total: float, day: float, seconds: float, most_per_hour: float) -> float:
        """The meter with the newest words.

        Args:
            total, day: the words, in the meter's unit.
            seconds: unix time.
            most_per_hour: what the meter can count in an hour.
        """
        follows = self.at is None or self._follows(total, day, seconds, most_per_hour)
        if not follows and self.held_since is None:
            self.held_since = seconds
        waited = 0.0 if self.held_since is None else seconds - self.held_since
        # A clock that was set back would hold for ever.
        if follows or waited >= self.HOLD_S or waited < 0:
            self.total, self.day, self.at, self.held_since = total, day, seconds, None
        return self.total + self.day

    def _follows(self, total: float, day: float, seconds: float, most_per_hour: float) -> bool:
        since = max(seconds - (self.at or 0.0), 0.0)
        most = self.RESOLUTION + most_per_hour * since / 3600.0
        rise = total + day - self.total - self.day
        if not 0 <= rise <= most:
            return False
        if since > self.HOLD_S and self.held_since is None:
            # Midnight may have passed unseen: then neither word says whether they belong together.
            return True
        added = total - self.total
        # What was just added to the total still stands in the day's part as long as that was not cleared.
        return day >= self.day if added == 0 else self.day <= added and day < added

    def state(self) -> dict[str, Any]:
        """Everything, as JSON can hold it."""
        return {"total": self.total, "day": self.day, "at": self.at, "held_since": self.held_since}

    @classmethod
    def from_state(cls, state: object) -> MeterState:
        """What `state` told; anything that cannot be understood counts as not known."""
        if not isinstance(state, Mapping):
            return cls()
        numbers = {
            name: float(value)
            for name in ("total", "day", "at", "held_since")
            if isinstance(value := state.get(name), int | float) and math.isfinite(value)
        }
        return cls(**numbers) if {"total", "day", "at"} <= numbers.keys() else cls()
