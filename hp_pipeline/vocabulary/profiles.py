"""Profiles: which native point is which canonical signal, as data (YAML), with the owner's overrides.

A profile names, for each signal, the selectors that find its points (the first that finds one takes precedence),
the unit it comes in and the scale of raw numbers (0.1 for a register that counts tenths of the unit), how text becomes
a state, what is not believed, what a counter can do, and how exactly changes of states are told: `changes`, of a state
or, at the root, of all of them. The shipped profiles lie in `profiles/`.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cache, lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from hp_pipeline.vocabulary.counters import RESETS, CounterRule
from hp_pipeline.vocabulary.durations import parse_duration
from hp_pipeline.vocabulary.points import Selector
from hp_pipeline.vocabulary.signals import Signal, signals
from hp_pipeline.vocabulary.units import UNITS, conversion

WITNESS_AGE = timedelta(hours=12)
"""How old a reading may be to show that the one after it is a spike; also the longest `within`. With both, whether a
reading on one day is a spike is told by that day and its neighbours."""

FLAG_WORDS: Mapping[str, str] = {
    **dict.fromkeys(("on", "true", "1", "1.0", "yes", "active", "open"), "on"),
    **dict.fromkeys(("off", "false", "0", "0.0", "no", "inactive", "closed"), "off"),
}
"""What counts as on and as off for a flag without a value map of its own (compared in lower case)."""

_ANY = "*"


class ProfileError(ValueError):
    """A mistake in a profile or in an owner's override.

    Attributes:
        message: what is wrong.
        key_path: where, from the profile's (or the override's) root.
        found: the word found there, when a word is the mistake.
        allowed: the words allowed there, empty when it is not a matter of words.
    """

    def __init__(
        self, message: str, key_path: tuple[str | int, ...] = (), allowed: Iterable[str] = (), found: str = ""
    ) -> None:
        super().__init__(message)
        self.message = message
        self.key_path = key_path
        self.allowed = list(allowed)
        self.found = found

    @property
    def nearest(self) -> str | None:
        """The allowed word nearest to the one found."""
        return next(iter(difflib.get_close_matches(self.found, self.allowed, n=1)), None)


@dataclass(frozen=True)
class Spike:
    """A reading that jumps by more than `max_jump` from the one before it, and back again with the one after it at most
    `within` later, is not believed. A steep rise that stays is no spike.

    The one before may be older, for many devices tell a value only when it changes, but at most `WITNESS_AGE`.
    """

    max_jump: float
    within: timedelta


@dataclass(frozen=True)
class Changes:
    """How exactly a source tells when a state changed, where it does not leave that to how often it is asked.

    Attributes:
        within: the change lies at most so long before the time that is told.
        published: it speaks by itself when something changes, so that each of its messages says of all that it does not
            mention that it is as before. Otherwise it dates its changes: the time of a reading that has one of its own
            is that of the last change, whenever it is asked.
    """

    within: timedelta
    published: bool


@dataclass(frozen=True)
class SignalMapping:
    """How one canonical signal is read from native points.

    `value * factor + offset` is the canonical number. `values` maps what a device says (text, or a number written
    as text) to one of the signal's states; `*` stands for any other word. `reject` lists canonical numbers that
    this device sends when it knows nothing. `summed`: the points that the selectors find are parts of the signal and
    are added, instead of the first taking precedence. `counter` says what a counter can do, in canonical terms.
    `changes` of a state: how exactly its changes are told; None: a change is seen at the next reading, however late.
    """

    signal: Signal
    selectors: tuple[Selector, ...]
    factor: float = 1.0
    offset: float = 0.0
    values: Mapping[str, str] | None = None
    reject: tuple[float, ...] = ()
    spike: Spike | None = None
    max_age: timedelta = timedelta(hours=1)
    summed: bool = False
    counter: CounterRule | None = None
    changes: Changes | None = None

    def read_by(self, selector: Selector) -> SignalMapping:
        """As it is for the points of one of its selectors, which may have a scale of their own."""
        if selector.times == 1:
            return self
        rule = self.counter
        if rule is not None and rule.resolution is not None:
            rule = replace(rule, resolution=rule.resolution * abs(selector.times))
        return replace(self, factor=self.factor * selector.times, counter=rule)

    def state_of(self, word: str) -> str | None:
        """The state that a word of the device means, None when it is no word of the profile."""
        if self.values is None:
            return FLAG_WORDS.get(word.strip().lower()) if self.signal.is_flag else self._own_word(word)
        return self.values.get(word, self.values.get(_without_zeros(word), self.values.get(_ANY)))

    def _own_word(self, word: str) -> str | None:
        return word if word in self.signal.values else None


def _without_zeros(word: str) -> str:
    return word.removesuffix(".0")


Teller = tuple[str, bool, str]
"""A signal, whether a meter tells it, and of several meters that are added the part that one measures: readings of one
teller stand in for each other."""


@dataclass(frozen=True)
class Profile:
    """The mappings of one device, by signal.

    Attributes:
        tells_events: its points `event/…` are faults and switch-offs.
        is_meter: the device is a meter and no machine that tells of itself.
        metered: the signals of energy that are a meter's in the heat pump that it is read for.
        added: of these the ones of which several meters measure a part each, with the part that is read here: the parts
            are added.
    """

    name: str
    description: str
    mappings: Mapping[str, SignalMapping]
    tells_events: bool = False
    is_meter: bool = False
    metered: frozenset[str] = frozenset()
    added: Mapping[str, str] = field(default_factory=dict)

    def teller(self, signal: str) -> Teller:
        """As whose its readings of a signal count."""
        return signal, signal in self.metered, self.added.get(signal, "")

    def selectors(self) -> list[Selector]:
        """Every selector of the profile, each once."""
        return list({selector: None for mapping in self.mappings.values() for selector in mapping.selectors})

    def fingerprint_data(self) -> list[str]:
        """Everything that decides what a reading becomes, in a stable order, for a hash."""
        metered = [f"metered: {' '.join(sorted(self.metered))}"] if self.metered else []
        added = [f"added: {sorted(self.added.items())}"] if self.added else []
        return [repr(self.mappings[name]) for name in sorted(self.mappings)] + metered + added


@cache
def shipped_profiles() -> tuple[str, ...]:
    """Names of the profiles that come with the package."""
    return tuple(
        sorted(
            entry.name.removesuffix(".yaml")
            for entry in files(__package__).joinpath("profiles").iterdir()
            if entry.name.endswith(".yaml")
        )
    )


def load_profile(name: str, overrides: Mapping[str, Any] | None = None, base: Path | None = None) -> Profile:
    """A shipped profile by name, or the owner's own by path (relative to `base`), with overrides merged over it.

    An override replaces the keys it names, signal by signal; a signal overridden by null is taken out.

    Raises:
        ProfileError: unknown profile, unreadable file, unknown signal, key, unit or state.
    """
    if name in shipped_profiles():
        text = files(__package__).joinpath("profiles", f"{name}.yaml").read_text(encoding="utf-8")
    elif name.endswith((".yaml", ".yml")):
        path = (base or Path()) / name
        try:
            text = path.read_text(encoding="utf-8")
        except OSError as error:
            raise ProfileError(f"cannot read profile {path}: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise ProfileError(f"profile {path} is not UTF-8 text") from error
    else:
        raise ProfileError(f"unknown profile {name!r}", allowed=shipped_profiles(), found=name)
    try:
        raw = _parsed(text)
    except YAMLError as error:
        raise ProfileError(f"profile {name} is not valid YAML: {str(error).splitlines()[0]}") from error
    if not isinstance(raw, dict) or not isinstance(raw.get("signals"), dict):
        raise ProfileError(f"profile {name} has no mapping `signals`")
    entries: dict[str, Any] = dict(raw["signals"])
    for signal, override in (overrides or {}).items():
        if override is None:
            entries.pop(signal, None)
        elif isinstance(override, Mapping) and isinstance(entries.get(signal), Mapping):
            entries[signal] = {**entries[signal], **override}
        else:
            entries[signal] = override
    changes = _changes(raw.get("changes"), ("changes",))
    return Profile(
        name=name,
        description=str(raw.get("description", "")),
        tells_events=raw.get("tells_events") is True,
        is_meter=raw.get("meter") is True,
        mappings={signal: _mapping(signal, entry, changes) for signal, entry in entries.items()},
    )


@lru_cache(maxsize=64)
def _parsed(text: str) -> Any:
    """What a profile's text says. Several heat pumps have the same one, and parsing takes 60 ms."""
    return YAML(typ="safe").load(text)


_KEYS = ("select", "combine", "unit", "scale", "values", "reject", "spike", "max_age", "changes")
_CHANGES_KEYS = ("dated_to", "published_within")
_COUNTER_KEYS = ("resolution", "resets", "rolls_over_at", "most_per_hour", "counts_negative")
_COMBINATIONS = ("first", "sum")
_SELECTOR_KEYS = ("point", "measurement", "field", "tags", "scale")


def _mapping(name: str, entry: object, changes: Changes | None) -> SignalMapping:
    if name not in signals():
        raise ProfileError(f"unknown signal {name!r}", (name,), signals(), name)
    signal = signals()[name]
    keys = (*_KEYS, *_COUNTER_KEYS) if signal.counter else _KEYS
    if not isinstance(entry, Mapping):
        raise ProfileError("a signal's entry is a mapping", (name,), keys)
    for key in entry:
        if key not in keys:
            raise ProfileError(f"unknown key {key!r}", (name, str(key)), keys, str(key))
    try:
        factor, offset = conversion(entry.get("unit", signal.unit), signal.unit) if signal.unit else (1.0, 0.0)
    except ValueError as error:
        raise ProfileError(str(error), (name, "unit"), UNITS, str(entry.get("unit"))) from error
    scale = _scale(name, signal, entry.get("scale", 1.0))
    return SignalMapping(
        signal=signal,
        selectors=_selectors(signal, entry.get("select"), scale),
        factor=factor * scale,
        offset=offset,
        values=_values(signal, entry.get("values")),
        reject=_numbers(name, entry.get("reject", ())),
        spike=_spike(name, entry.get("spike")),
        max_age=_age(entry.get("max_age", signal.max_age), (name, "max_age")),
        summed=_is_summed(signal, entry.get("combine", "first")),
        counter=_counter(signal, entry, factor, abs(factor * scale) if scale != 1 else None),
        changes=_changes_of(signal, entry, changes),
    )


def _changes_of(signal: Signal, entry: Mapping[str, Any], common: Changes | None) -> Changes | None:
    """What the entry says of the changes of a state, else what the whole profile does."""
    if signal.kind == "state":
        return _changes(entry["changes"], (signal.name, "changes")) if "changes" in entry else common
    if "changes" in entry:
        raise ProfileError(f"{signal.name} is a {signal.kind}: only a state has `changes`", (signal.name, "changes"))
    return None


def _changes(raw: object, path: tuple[str, ...]) -> Changes | None:
    if raw is None:
        return None
    if not isinstance(raw, Mapping) or len(raw) != 1 or set(raw) - set(_CHANGES_KEYS):
        raise ProfileError("`changes` says `dated_to` or `published_within`, and how long", path, _CHANGES_KEYS)
    (key, told), *_ = raw.items()
    within = _duration(told, (*path, key))
    if within <= timedelta():
        raise ProfileError(f"`{key}` is more than nothing", (*path, key))
    return Changes(within, published=key == "published_within")


def _is_summed(signal: Signal, raw: object) -> bool:
    if raw not in _COMBINATIONS:
        raise ProfileError("`combine` is first or sum", (signal.name, "combine"), _COMBINATIONS, str(raw))
    if raw == "sum" and signal.kind not in {"gauge", "counter"}:
        raise ProfileError(f"{signal.name} is a {signal.kind}: it cannot be summed", (signal.name, "combine"))
    return raw == "sum"


def _counter(signal: Signal, entry: Mapping[str, Any], factor: float, step: float | None) -> CounterRule | None:
    """The signal's rule with what the profile says, in `unit`, of this counter. A raw number counts in steps of 1."""
    if signal.counter is None:
        return None
    said: dict[str, Any] = {}
    for key in ("resolution", "rolls_over_at", "most_per_hour"):
        if (number := entry.get(key)) is not None:
            if isinstance(number, bool) or not isinstance(number, int | float) or not 0 < number < math.inf:
                raise ProfileError(f"`{key}` is a number above 0, not {number!r}", (signal.name, key))
            said[key] = float(number) * factor
    if "resets" in entry:
        if entry["resets"] not in RESETS:
            raise ProfileError(
                f"`resets` is one of {', '.join(RESETS)}", (signal.name, "resets"), RESETS, str(entry["resets"])
            )
        said["resets"] = entry["resets"]
    if "counts_negative" in entry:
        if not isinstance(entry["counts_negative"], bool):
            raise ProfileError("`counts_negative` is true or false", (signal.name, "counts_negative"))
        said["counts_negative"] = entry["counts_negative"]
    if "resolution" not in said and step is not None:
        said["resolution"] = step
    return replace(signal.counter, **said)


def _selectors(signal: Signal, raw: object, scale: float) -> tuple[Selector, ...]:
    name = signal.name
    found = raw if isinstance(raw, list) and raw else [raw]
    result = []
    for index, item in enumerate(found):
        path = (name, "select", index) if isinstance(raw, list) else (name, "select")
        if isinstance(item, str):
            item = {"point": item}  # noqa: PLW2901 - the short way to write it
        if not isinstance(item, Mapping) or not item:
            raise ProfileError(f"signal {name} says no `select`: what its series is called", path, _SELECTOR_KEYS)
        for key in item:
            if key not in _SELECTOR_KEYS:
                raise ProfileError(f"unknown key {key!r}", (*path, str(key)), _SELECTOR_KEYS, str(key))
        tags = item.get("tags", {})
        if not isinstance(tags, Mapping):
            raise ProfileError("`tags` is a mapping of tag to value", (*path, "tags"))
        words = {key: str(item[key]) for key in ("point", "measurement", "field") if key in item}
        for word in [*words.values(), *map(str, tags.values())]:
            if len(word) > 2 and word.startswith("/") and word.endswith("/"):
                try:
                    re.compile(word[1:-1])
                except re.error as error:
                    raise ProfileError(f"{word} is not a regular expression: {error}", path) from error
        times = _scale(name, signal, item["scale"]) / scale if "scale" in item else 1.0
        result.append(Selector(**words, tags=_Tags({str(key): str(value) for key, value in tags.items()}), times=times))
    return tuple(result)


class _Tags(dict[str, str]):
    """Tags of a selector, hashable so that a selector can be one of a set."""

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(frozenset(self.items()))


def _values(signal: Signal, raw: object) -> Mapping[str, str] | None:
    if raw is None:
        return None
    if signal.kind != "state":
        raise ProfileError(f"{signal.name} is a {signal.kind}: only a state has `values`", (signal.name, "values"))
    if not isinstance(raw, Mapping):
        raise ProfileError("`values` maps the device's words to states", (signal.name, "values"), signal.values)
    result = {}
    for word, state in raw.items():
        written = {True: "on", False: "off"}.get(state, state) if isinstance(state, bool) else state
        if written not in signal.values:
            raise ProfileError(
                f"{state!r} is not a state of {signal.name}",
                (signal.name, "values", str(word)),
                signal.values,
                str(state),
            )
        result[str(word).lower() if isinstance(word, bool) else str(word)] = str(written)
    return result


def _numbers(name: str, raw: object) -> tuple[float, ...]:
    if not isinstance(raw, list | tuple) or any(isinstance(x, bool) or not isinstance(x, int | float) for x in raw):
        raise ProfileError("`reject` is a list of numbers", (name, "reject"))
    return tuple(float(number) for number in raw)


def _scale(name: str, signal: Signal, raw: object) -> float:
    """What a raw number of the device is multiplied with to be a number in `unit`."""
    if isinstance(raw, bool) or not isinstance(raw, int | float) or not math.isfinite(raw) or raw == 0:
        raise ProfileError(f"`scale` is a number other than 0, not {raw!r}", (name, "scale"))
    if raw != 1 and not signal.unit:
        raise ProfileError(f"{name} has no unit: it has no `scale` either", (name, "scale"))
    return float(raw)


def _spike(name: str, raw: object) -> Spike | None:
    if raw is None:
        return None
    if not isinstance(raw, Mapping) or set(raw) - {"max_jump", "within"} or "max_jump" not in raw:
        raise ProfileError("`spike` says `max_jump` and `within`", (name, "spike"), ("max_jump", "within"))
    jump = raw["max_jump"]
    if isinstance(jump, bool) or not isinstance(jump, int | float) or jump <= 0:
        raise ProfileError(f"`max_jump` is a number above 0, not {jump!r}", (name, "spike", "max_jump"))
    within = _duration(raw.get("within", "1h"), (name, "spike", "within"))
    if not timedelta() < within <= WITNESS_AGE:
        raise ProfileError("`within` is more than nothing and at most 12h", (name, "spike", "within"))
    return Spike(float(jump), within)


def _age(raw: object, path: tuple[str, ...]) -> timedelta:
    age = _duration(raw, path)
    if age <= timedelta():
        raise ProfileError("`max_age` is more than nothing", path)
    return age


def _duration(raw: object, path: tuple[str, ...]) -> timedelta:
    try:
        return parse_duration(raw)
    except ValueError as error:
        raise ProfileError(str(error), path) from error
