"""Register maps: what a Modbus device keeps where, as data (YAML). The shipped maps lie in `registers/`.

A map says of each register its table, address (as it goes over the wire, counted from 0), type, word order, scale,
what the device sends when it knows nothing, which values are possible, how fast it is worth asking, and which
canonical signal it is. What follows from several registers (a meter of which the day's part is kept apart, an
operation told in bits) is said in the map too. `profile_of` turns a map into the profile that reads its points.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, Literal, cast, get_args

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from hp_pipeline.vocabulary.signals import signals
from hp_pipeline.vocabulary.units import UNITS, conversion

Table = Literal["input", "holding", "discrete", "coil"]
ValueType = Literal["int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64", "text", "bit"]
WordOrder = Literal["big", "little"]
Cadence = Literal["fast", "slow"]

WORDS: Final[Mapping[str, int]] = {
    "int16": 1, "uint16": 1, "int32": 2, "uint32": 2, "int64": 4, "uint64": 4, "float32": 2, "float64": 4, "bit": 1,
}  # fmt: skip
"""Registers that a value of a type takes (a text says itself how many, a pair takes one for each magnitude)."""

MOST_WORDS: Final = 125
"""Registers that one request may ask for, by the protocol."""
MOST_BITS: Final = 2000
"""Coils or discrete inputs that one request may ask for, by the protocol."""
LAST_ADDRESS: Final = 0xFFFF


class RegisterMapError(ValueError):
    """A mistake in a register map.

    Attributes:
        message: what is wrong.
        where: the place in the map, such as `groups[0].registers[3].type`.
        allowed: the words allowed there, empty when it is not a matter of words.
        found: the word found there, when a word is the mistake.
    """

    def __init__(self, message: str, where: str = "", allowed: Iterable[str] = (), found: str = "") -> None:
        self.message = message
        self.where = where
        self.allowed = list(allowed)
        self.found = found
        near = next(iter(difflib.get_close_matches(found, self.allowed, n=1)), None)
        text = f"{where}: {message}" if where else message
        if self.allowed:
            text += f". Allowed: {', '.join(self.allowed)}"
        super().__init__(f"{text}. Did you mean {near!r}?" if near else text)


@dataclass(frozen=True)
class Register:
    """One value that a device keeps.

    Attributes:
        name: the point that its readings have.
        table: which of the four tables of the protocol.
        address: of its first register, as it goes over the wire.
        type: how the registers make a number (or a text, or a bit).
        words: registers (or bits) that it takes.
        word_order: of values that take several registers: the high word first (big) or last (little).
        scale, offset: value = raw * scale + offset.
        invalid: raw values (unsigned, or the number of a float) that mean "not available"; one such word of a pair
            voids the pair.
        pair: for counters that are kept in magnitudes (kWh and MWh): what each register counts for.
        bits: names of bits (0 is the lowest): each becomes a point `<name>.<bit>`, 0 or 1.
        enum: words of the values; a value without a word is told as its number.
        minimum, maximum: of the value; outside it is not believed.
        unit: of the value.
        signal: the canonical signal that it is.
        bit_signals: those that its bits are, by the bit's name.
        states: for a signal that is a state: which state each word means (`*` is any other).
        also: further signals that it tells, each with its states.
        cadence: fast (every poll) or slow.
        group: name of its group.
        models: only these models have it; empty: all.
        description: what it is.
    """

    name: str
    table: Table
    address: int
    type: ValueType
    words: int = 1
    word_order: WordOrder = "big"
    scale: float = 1.0
    offset: float = 0.0
    invalid: tuple[float, ...] = ()
    pair: tuple[int, ...] = ()
    bits: Mapping[int, str] = field(default_factory=dict)
    enum: Mapping[int, str] = field(default_factory=dict)
    minimum: float | None = None
    maximum: float | None = None
    unit: str | None = None
    signal: str | None = None
    bit_signals: Mapping[str, str] = field(default_factory=dict)
    states: Mapping[str, str] = field(default_factory=dict)
    also: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    cadence: Cadence = "fast"
    group: str = ""
    models: tuple[str, ...] = ()
    description: str = ""

    @property
    def end(self) -> int:
        """The address behind its last register."""
        return self.address + self.words

    def at(self, shift: int, word_order: WordOrder | None = None) -> Register:
        """The same `shift` addresses further on, and with another word order if one is given."""
        changed = {**self.__dict__, "address": self.address + shift}
        if word_order and self.words > 1 and not self.pair and self.type != "text":
            changed["word_order"] = word_order
        return Register(**changed)


@dataclass(frozen=True)
class Group:
    """Registers that a device has or lacks together; read by requests of their own if they are optional."""

    name: str
    description: str = ""
    optional: bool = False
    instance_step: int = 0
    """How much further on the registers of the next instance (the second heat pump …) lie; 0: there is only one."""


@dataclass(frozen=True)
class Meter:
    """A counter that never falls, from a total that the device adds the day to at midnight, and the day's part.

    Attributes:
        name: its point.
        total, day: names of the two registers.
        unit: of the meter.
        signal: the canonical signal that it is.
        most_per_hour: what the meter can at most count in an hour, in its unit.
    """

    name: str
    total: str
    day: str
    unit: str | None
    signal: str | None
    most_per_hour: float


@dataclass(frozen=True)
class Sum:
    """A counter that is the sum of others. There is none while one of them is unknown."""

    name: str
    of: tuple[str, ...]
    unit: str | None
    signal: str | None


@dataclass(frozen=True)
class Operation:
    """A state that is told in bits: the word of the first bit in `order` that is set, else `otherwise`."""

    name: str
    register: str
    order: tuple[tuple[int, str], ...]
    otherwise: str
    signal: str | None
    states: Mapping[str, str]


@dataclass(frozen=True)
class Controller:
    """Where a device says which model it is."""

    table: Table
    address: int
    models: Mapping[int, str]


@dataclass(frozen=True)
class RegisterMap:
    """What a kind of device keeps where.

    Attributes:
        name: name of the map.
        title: for people.
        description: what it is for, and its traps.
        sources: where the facts come from.
        verified: whether it was compared with a real device.
        unit_id, port: the maker's defaults.
        most_words: registers that one request may ask for.
        most_gap: registers that nobody asked for and that are read nevertheless, to save a request.
        controller: how the model is recognised, if it can be.
        instances: heat pumps that one device may serve.
    """

    name: str
    title: str
    description: str
    sources: tuple[str, ...]
    verified: bool
    unit_id: int
    port: int
    most_words: int
    most_gap: int
    controller: Controller | None
    instances: int
    groups: tuple[Group, ...]
    registers: tuple[Register, ...]
    meters: tuple[Meter, ...]
    sums: tuple[Sum, ...]
    operations: tuple[Operation, ...]

    @property
    def models(self) -> tuple[str, ...]:
        """The models that it serves, empty if it makes no difference."""
        return tuple(dict.fromkeys(self.controller.models.values())) if self.controller else ()

    @property
    def group(self) -> Mapping[str, Group]:
        """The groups by name."""
        return {group.name: group for group in self.groups}

    def registers_of(self, model: str | None, instance: int = 1, word_order: WordOrder | None = None) -> list[Register]:
        """The registers of a model, with the addresses of one of several heat pumps (1 is the first).

        Without a model those that every model has.
        """
        group = self.group
        return [
            register.at((instance - 1) * group[register.group].instance_step, word_order)
            for register in self.registers
            if not register.models or model in register.models
        ]

    @property
    def fingerprint(self) -> str:
        """Changes when anything does that decides which addresses are asked, or what they mean."""
        content = [repr(self.registers), repr(self.meters), repr(self.sums), repr(self.operations)]
        return hashlib.sha256("\n".join(content).encode()).hexdigest()[:16]


@cache
def shipped_maps() -> tuple[str, ...]:
    """Names of the maps that come with the package."""
    return tuple(
        sorted(
            entry.name.removesuffix(".yaml")
            for entry in files(__package__).joinpath("registers").iterdir()
            if entry.name.endswith(".yaml")
        )
    )


def load_map(name: str, base: Path | None = None) -> RegisterMap:
    """A shipped map by name, or the owner's own by path (relative to `base`).

    Raises:
        RegisterMapError: unknown map, unreadable file, or a mistake in it, with its place.
    """
    if name in shipped_maps():
        return _shipped(name)
    if not name.endswith((".yaml", ".yml")):
        raise RegisterMapError(f"unknown register map {name!r}", "", shipped_maps(), name)
    path = (base or Path()) / name
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise RegisterMapError(f"cannot read register map {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise RegisterMapError(f"register map {path} is not UTF-8 text") from error
    return parse_map(path.stem, text)


@cache
def _shipped(name: str) -> RegisterMap:
    return parse_map(name, files(__package__).joinpath("registers", f"{name}.yaml").read_text(encoding="utf-8"))


def parse_map(name: str, text: str) -> RegisterMap:
    """The map that a YAML text describes.

    Raises:
        RegisterMapError: a mistake in it, with its place.
    """
    try:
        raw = YAML(typ="safe").load(text)
    except YAMLError as error:
        raise RegisterMapError(f"register map {name} is not valid YAML: {str(error).splitlines()[0]}") from error
    return _Reader(name, _Node(raw, "")).read()


# ---- reading the YAML ----------------------------------------------------------------------------------------

_MAP_KEYS = (
    "title", "description", "sources", "verified", "unit", "port", "most_words", "most_gap", "controller",
    "instances", "word_order", "invalid", "groups", "meters", "sums", "operations",
)  # fmt: skip
_GROUP_KEYS = ("name", "description", "optional", "instance_step", "table", "models", "defaults", "registers")
_REGISTER_KEYS = (
    "name", "address", "table", "type", "words", "word_order", "scale", "offset", "invalid", "pair", "bits", "enum",
    "valid", "unit", "signal", "bit_signals", "states", "also", "cadence", "models", "description",
)  # fmt: skip
_DEFAULT_KEYS = tuple(key for key in _REGISTER_KEYS if key not in ("name", "address", "signal", "also", "description"))


@dataclass(frozen=True)
class _Node:
    """A part of the YAML with its place."""

    raw: Any
    where: str

    def fail(self, message: str, key: str | None = None, allowed: Iterable[str] = (), found: str = "") -> Any:
        raise RegisterMapError(message, self.below(key) if key else self.where, allowed, found)

    def below(self, key: str) -> str:
        return f"{self.where}.{key}" if self.where else key

    def keys(self, allowed: Sequence[str]) -> _Node:
        if not isinstance(self.raw, dict):
            self.fail("keys with values are needed here")
        for key in self.raw:
            if key not in allowed:
                self.fail(f"unknown key {key!r}", None, allowed, str(key))
        return self

    def items(self, key: str) -> list[_Node]:
        found = self.raw.get(key) or []
        if not isinstance(found, list):
            self.fail("a list is needed here", key)
        return [_Node(item, f"{self.below(key)}[{index}]") for index, item in enumerate(found)]

    def text(self, key: str, default: str | None = None) -> str:
        value = self.raw.get(key, default)
        if not isinstance(value, str) or not value.strip():
            self.fail("a text is needed here", key)
        return str(value)

    def optional_text(self, key: str) -> str | None:
        return self.text(key) if self.raw.get(key) is not None else None

    def word(self, key: str, allowed: Sequence[str], default: str | None = None) -> str:
        value = self.raw.get(key, default)
        if value not in allowed:
            self.fail(f"{value!r} is not possible here" if value is not None else "is needed", key, allowed, str(value))
        return str(value)

    def flag(self, key: str) -> bool:
        value = self.raw.get(key, False)
        if not isinstance(value, bool):
            self.fail("true or false is needed here", key)
        return bool(value)

    def whole(self, key: str, least: int, most: int, default: int | None = None) -> int:
        value = self.raw.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            self.fail(f"a whole number from {least} to {most} is needed here, not {value!r}", key)
        return int(value)

    def number(self, key: str, default: float) -> float:
        value = self.raw.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            self.fail(f"a number is needed here, not {value!r}", key)
        return float(value)

    def numbers(self, key: str) -> tuple[float, ...]:
        value = self.raw.get(key) or []
        if not isinstance(value, list) or any(isinstance(x, bool) or not isinstance(x, int | float) for x in value):
            self.fail("a list of numbers is needed here", key)
        return tuple(value)

    def words(self, key: str) -> tuple[str, ...]:
        value = self.raw.get(key) or []
        if not isinstance(value, list) or any(not isinstance(word, str) for word in value):
            self.fail("a list of texts is needed here", key)
        return tuple(value)

    def table_of(self, key: str, kind: type) -> dict[Any, str]:
        value = self.raw.get(key) or {}
        fits = isinstance(value, dict) and all(
            isinstance(name, kind) and not isinstance(name, bool) and isinstance(word, str)
            for name, word in value.items()
        )
        if not fits:
            number = "a number" if kind is int else "a text"
            self.fail(f"{number} with a text for each entry is needed here (on and off in quotes)", key)
        return dict(value)


class _Reader:
    """Reads one map."""

    def __init__(self, name: str, root: _Node) -> None:
        self.name = name
        self.root = root.keys(_MAP_KEYS)
        self.models: tuple[str, ...] = ()

    def read(self) -> RegisterMap:
        root = self.root
        controller = self._controller()
        self.models = tuple(dict.fromkeys(controller.models.values())) if controller else ()
        groups: list[Group] = []
        registers: list[Register] = []
        for node in root.items("groups"):
            group = self._group(node.keys(_GROUP_KEYS))
            if any(other.name == group.name for other in groups):
                node.fail(f"there are two groups {group.name!r}", "name")
            groups.append(group)
            registers += self._registers(node, group)
        if not registers:
            root.fail("a map has at least one register", "groups")
        known = {register.name: register for register in registers}
        if len(known) < len(registers):
            twice = next(r.name for i, r in enumerate(registers) if known[r.name] is not registers[i])
            root.fail(f"two registers are called {twice!r}", "groups")
        meters = [self._meter(node, known) for node in root.items("meters")]
        counters = [*known, *(meter.name for meter in meters)]
        sums = [self._sum(node, counters) for node in root.items("sums")]
        operations = [self._operation(node, known) for node in root.items("operations")]
        points = [
            *known,
            *(f"{r.name}.{bit}" for r in registers for bit in r.bits.values()),
            *(meter.name for meter in meters),
            *(item.name for item in sums),
            *(operation.name for operation in operations),
        ]
        for index, point in enumerate(points):
            if point in points[:index]:
                root.fail(f"two points are called {point!r}")
        return RegisterMap(
            name=self.name,
            title=root.text("title"),
            description=root.text("description"),
            sources=root.words("sources") or root.fail("say where the facts come from", "sources"),
            verified=root.flag("verified"),
            unit_id=root.whole("unit", 0, 255, 1),
            port=root.whole("port", 1, 65535, 502),
            most_words=root.whole("most_words", 1, MOST_WORDS, 100),
            most_gap=root.whole("most_gap", 0, MOST_WORDS, 24),
            controller=controller,
            instances=root.whole("instances", 1, 100, 1),
            groups=tuple(groups),
            registers=tuple(registers),
            meters=tuple(meters),
            sums=tuple(sums),
            operations=tuple(operations),
        )

    def _controller(self) -> Controller | None:
        if self.root.raw.get("controller") is None:
            return None
        node = _Node(self.root.raw["controller"], "controller").keys(("table", "address", "models"))
        models = node.table_of("models", int) or node.fail("say which number is which model", "models")
        return Controller(
            cast("Table", node.word("table", ("input", "holding"), "input")),
            node.whole("address", 0, LAST_ADDRESS),
            models,
        )

    def _group(self, node: _Node) -> Group:
        return Group(
            name=node.text("name"),
            description=node.optional_text("description") or "",
            optional=node.flag("optional"),
            instance_step=node.whole("instance_step", 0, LAST_ADDRESS, 0),
        )

    def _registers(self, node: _Node, group: Group) -> list[Register]:
        defaults: dict[str, Any] = {}
        if node.raw.get("defaults") is not None:
            defaults = dict(_Node(node.raw["defaults"], node.below("defaults")).keys(_DEFAULT_KEYS).raw)
        for key in ("table", "models"):
            if node.raw.get(key) is not None:
                defaults[key] = node.raw[key]
        for key in ("invalid", "word_order"):
            if self.root.raw.get(key) is not None:
                defaults.setdefault(key, self.root.raw[key])
        return [
            self._register(_Node({**defaults, **item.keys(_REGISTER_KEYS).raw}, item.where), item, group)
            for item in node.items("registers")
        ]

    def _register(self, node: _Node, own: _Node, group: Group) -> Register:
        table = node.word("table", get_args(Table))
        bit_table = table in ("coil", "discrete")
        kind = node.word("type", get_args(ValueType), "bit" if bit_table else None)
        if (kind == "bit") is not bit_table:
            node.fail(f"a {table} is {'a bit' if bit_table else 'no bit'}", "type")
        pair = tuple(int(factor) for factor in node.numbers("pair"))
        if pair and (kind != "uint16" or len(pair) < 2 or min(pair) <= 0):
            node.fail("a pair is made of at least two uint16, each with what it counts for", "pair")
        words = len(pair) or WORDS.get(kind, 0)
        if kind == "text":
            words = node.whole("words", 1, MOST_WORDS)
        elif "words" in own.raw:
            node.fail(f"only a text says how many registers it takes; a {kind} takes {words}", "words")
        address = node.whole("address", 0, LAST_ADDRESS + 1 - words)
        enum, bits = node.table_of("enum", int), node.table_of("bits", int)
        if (enum or bits) and (pair or kind not in ("int16", "uint16", "int32", "uint32")):
            node.fail(f"a {'pair' if pair else kind} has neither bits nor words", "bits" if bits else "enum")
        if bits and not all(0 <= bit < 16 * words for bit in bits):
            node.fail(f"bits go from 0 to {16 * words - 1}", "bits")
        scale, offset = node.number("scale", 1.0), node.number("offset", 0.0)
        if scale == 0:
            node.fail("a scale of 0 leaves nothing", "scale")
        plain = kind in ("text", "bit") or enum or bits
        if plain and ("scale" in own.raw or "offset" in own.raw):
            node.fail("only a number has a scale and an offset", "scale")
        models = node.words("models")
        for model in models:
            if model not in self.models:
                node.fail(f"{model!r} is no model of this map", "models", self.models, model)
        valid = node.numbers("valid")
        if valid and (len(valid) != 2 or valid[0] > valid[1]):
            node.fail("the least and the most possible value are needed here", "valid")
        # A default for the group's numbers says nothing about its words and bits.
        unit = None if plain and "unit" not in own.raw else node.optional_text("unit")
        signal = node.optional_text("signal")
        states = node.table_of("states", str)
        bit_signals = node.table_of("bit_signals", str)
        self._check_signal(node, signal, unit, states)
        also = {}
        for other in node.raw.get("also") or {}:
            also[other] = _Node(node.raw["also"], node.below("also")).table_of(other, str)
            self._check_signal(node, other, None, also[other], "also")
        for bit, bit_signal in bit_signals.items():
            if bit not in bits.values():
                node.fail(f"{bit!r} is no bit of this register", "bit_signals", bits.values(), bit)
            self._check_signal(node, bit_signal, None, {}, "bit_signals")
        return Register(
            name=node.text("name"),
            table=cast("Table", table),
            address=address,
            type=cast("ValueType", kind),
            words=words,
            word_order=cast("WordOrder", node.word("word_order", get_args(WordOrder), "big")),
            scale=1.0 if plain else scale,
            offset=0.0 if plain else offset,
            invalid=self._invalid(node, kind),
            pair=pair,
            bits=bits,
            enum=enum,
            minimum=float(valid[0]) if valid else None,
            maximum=float(valid[1]) if valid else None,
            unit=unit,
            signal=signal,
            bit_signals=bit_signals,
            states=states,
            also=also,
            cadence=cast("Cadence", node.word("cadence", get_args(Cadence), "slow")),
            group=group.name,
            models=models,
            description=node.optional_text("description") or "",
        )

    def _invalid(self, node: _Node, kind: str) -> tuple[float, ...]:
        """What a map says for all registers may name values of several types: each takes those that fit it."""
        values = node.numbers("invalid")
        if kind in ("float32", "float64"):
            return tuple(float(value) for value in values)
        if kind in ("text", "bit"):
            return ()
        size = 1 << 16 * WORDS[kind]
        kept = []
        for value in values:
            if not isinstance(value, int) or not -(size >> 1) <= value < size:
                node.fail(f"{value!r} is no raw value of a {kind}", "invalid")
            kept.append(value % size)
        return tuple(kept)

    def _check_signal(
        self, node: _Node, name: str | None, unit: str | None, states: Mapping[str, str], key: str = "signal"
    ) -> None:
        if unit is not None and unit not in UNITS and name is not None:
            node.fail(f"unknown unit {unit!r}", "unit", UNITS, unit)
        if name is None:
            if states:
                node.fail("only what is a signal has states", "states")
            return
        if name not in signals():
            node.fail(f"{name!r} is no canonical signal", key, signals(), name)
        signal = signals()[name]
        for state in states.values():
            if state not in signal.values:
                node.fail(f"{state!r} is no state of {name}", "states", signal.values, state)
        if signal.unit is not None:
            if unit is None:
                node.fail(f"{name} needs a unit", "unit")
            try:
                conversion(str(unit), signal.unit)
            except ValueError as error:
                node.fail(str(error), "unit")

    def _meter(self, node: _Node, known: Mapping[str, Register]) -> Meter:
        node.keys(("name", "total", "day", "unit", "signal", "most_per_hour"))
        unit, signal = node.text("unit"), node.optional_text("signal")
        self._check_signal(node, signal, unit, {})
        total, day = (node.word(key, list(known)) for key in ("total", "day"))
        if known[total].group != known[day].group or known[total].cadence != known[day].cadence:
            node.fail("total and day are read together: they are in one group, with one cadence", "day")
        return Meter(node.text("name"), total, day, unit, signal, node.number("most_per_hour", 100.0))

    def _sum(self, node: _Node, counters: Sequence[str]) -> Sum:
        node.keys(("name", "of", "unit", "signal"))
        unit, signal = node.text("unit"), node.optional_text("signal")
        self._check_signal(node, signal, unit, {})
        parts = node.words("of")
        for part in parts:
            if part not in counters:
                node.fail(f"{part!r} is neither a register nor a meter", "of", counters, part)
        return Sum(node.text("name"), parts or node.fail("say what is added", "of"), unit, signal)

    def _operation(self, node: _Node, known: Mapping[str, Register]) -> Operation:
        node.keys(("name", "register", "order", "otherwise", "signal", "states"))
        register = known[node.word("register", list(known))]
        names = {name: bit for bit, name in register.bits.items()}
        order = []
        for item in node.items("order"):
            item.keys(("bit", "word"))
            order.append((names[item.word("bit", list(names))], item.text("word")))
        signal, states = node.optional_text("signal"), node.table_of("states", str)
        self._check_signal(node, signal, None, states)
        return Operation(
            node.text("name"),
            register.name,
            tuple(order) or node.fail("say which bit comes first", "order"),
            node.text("otherwise"),
            signal,
            states,
        )


# ---- the profile that reads a map's points --------------------------------------------------------------------


def profile_of(register_map: RegisterMap) -> dict[str, Any]:
    """The profile (as the content of its YAML file) that reads the points of a map.

    Where several registers are one signal (on different models), each has a selector, in the order of the map.
    """
    entries: dict[str, dict[str, Any]] = {}
    steps: dict[str, float | None] = {}

    def add(
        signal: str | None,
        point: str,
        unit: str | None,
        states: Mapping[str, str],
        resolution: float | None = None,
    ) -> None:
        if signal is None:
            return
        entry = entries.setdefault(signal, {"select": []})
        entry["select"].append({"point": point})
        if signals()[signal].unit is not None:
            entry["unit"] = unit
        if resolution is not None and signals()[signal].kind == "counter":
            entry["resolution"] = max(resolution, entry.get("resolution", 0.0))
        if states:
            entry["values"] = {**entry.get("values", {}), **states}

    for register in register_map.registers:
        steps.setdefault(register.name, None if register.type.startswith("float") else abs(register.scale))
        add(register.signal, register.name, register.unit, register.states, steps[register.name])
        for signal, states in register.also.items():
            add(signal, register.name, None, states)
        for bit in register.bits.values():
            add(register.bit_signals.get(bit), f"{register.name}.{bit}", None, {})
    for meter in register_map.meters:
        steps[meter.name] = steps.get(meter.day)
        add(meter.signal, meter.name, meter.unit, {}, steps[meter.name])
    for item in register_map.sums:
        known = [step for part in item.of if (step := steps.get(part)) is not None]
        add(item.signal, item.name, item.unit, {}, min(known) if len(known) == len(item.of) else None)
    for operation in register_map.operations:
        add(operation.signal, operation.name, None, operation.states)
    ordered = [name for name in signals() if name in entries]
    return {
        "description": f"{register_map.title}, read over Modbus with the register map {register_map.name}",
        "signals": {name: entries[name] for name in ordered},
    }


def profile_text(register_map: RegisterMap) -> str:
    """The same as a YAML file, for those that are shipped and for the owner who brings a map of his own."""
    profile = profile_of(register_map)
    lines = [
        f"# Points are the names of the register map {register_map.name}: made from it, change the map instead.",
        f"description: {json.dumps(profile['description'], ensure_ascii=False)}",
        "signals:" if profile["signals"] else "signals: {}",
        *(f"  {name}: {json.dumps(entry, ensure_ascii=False)}" for name, entry in profile["signals"].items()),
    ]
    return "\n".join([*lines, ""])
