"""The site, its heat pumps and its meters."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import timedelta
from typing import Annotated, Any, Literal, Protocol, TypeVar

from pydantic import AfterValidator, Field, field_serializer
from pydantic_core import PydanticCustomError

from hp_pipeline.settings.durations import Duration, between
from hp_pipeline.settings.model import (
    Day,
    Flag,
    Identifier,
    Inconsistency,
    Moment,
    Number,
    SettingsModel,
    Text,
    TimeZone,
    mappings,
    nearest_word,
    read_moment,
    repeated,
    within,
)
from hp_pipeline.settings.rules import Rules
from hp_pipeline.vocabulary.counters import VERDICTS, OwnersWord, Verdict
from hp_pipeline.vocabulary.durations import format_duration
from hp_pipeline.vocabulary.signals import signals


def _currency(value: str) -> str:
    if not (len(value) == 3 and value.isascii() and value.isalpha() and value.isupper()):
        upper = value.upper() if len(value) == 3 and value.isascii() and value.isalpha() else ""
        raise PydanticCustomError(
            "currency",
            "allowed: {allowed}",
            {
                "allowed": "three capital letters such as EUR, CHF or GBP",
                "nearest": upper or {"€": "EUR", "£": "GBP", "$": "USD", "Euro": "EUR"}.get(value, ""),
            },
        )
    return value


class Site(SettingsModel):
    """The house: where it is and by which calendar its people live."""

    name: Text = Field(description="Name of the house, for people.")
    time_zone: TimeZone = Field(description="Time zone of the calendar that people see, such as Europe/Berlin.")
    currency: Annotated[str, AfterValidator(_currency)] = Field(
        "EUR", description="Currency of the tariffs, three capital letters (ISO 4217)."
    )
    start: Day = Field(description="First UTC day that may hold readings, such as 2024-01-31.")
    latitude: Annotated[Number, within(-90, 90, "degrees")] | None = Field(
        None, description="Degrees north, -90 to 90."
    )
    longitude: Annotated[Number, within(-180, 180, "degrees")] | None = Field(
        None, description="Degrees east, -180 to 180."
    )

    heating_season_starts: Annotated[int, within(1, 12)] = Field(
        7, description="Month with which the year of a heating season begins: 7 in the north, 1 in the south."
    )

    @classmethod
    def inconsistencies(cls, written: Mapping[str, Any]) -> Iterator[Inconsistency]:
        """One coordinate is no place."""
        pair = ("latitude", "longitude")
        given = [key for key in pair if written.get(key) is not None]
        if len(given) == 1:
            (absent,) = set(pair) - set(given)
            yield Inconsistency(
                (absent,), f"both latitude and longitude, or none; {given[0]} is given", "nothing", at_key=True
            )


class Circuit(SettingsModel):
    """A heating circuit that a heat pump feeds."""

    id: Identifier = Field(description="Id of the circuit: a to z, 0 to 9 and _.")
    name: Text | None = Field(None, description="Name of the circuit, for people.")


class Input(SettingsModel):
    """Where signals of a heat pump come from: a source, and the profile that reads its points."""

    source: Identifier = Field(description="Id of the source.")
    profile: Text = Field(description="A shipped profile, or the path of a YAML file, relative to this settings file.")
    signals: dict[str, Any] = Field(
        default_factory=dict,
        description="Owner's mapping of points to signals; it is merged over the profile's.",
    )


Consumer = Literal[
    "compressor",
    "fan",
    "controls",
    "circulation_pump",
    "brine_pump",
    "backup_heater",
    "immersion_heater",
    "crankcase_heater",
]
"""What a meter can include: it decides the boundary (SPF H1 to H4) of a COP."""


def repeated_inputs(written: Mapping[str, Any]) -> Iterator[Inconsistency]:
    """An inconsistency for each input that has the source and the profile of an earlier one."""
    inputs = written.get("inputs")
    seen: dict[tuple[str, str], int] = {}
    for index, entry in enumerate(inputs if isinstance(inputs, list) else []):
        if not isinstance(entry, Mapping):
            continue
        source, profile = entry.get("source"), entry.get("profile")
        if not isinstance(source, str) or not isinstance(profile, str):
            continue
        if (source, profile) in seen:
            yield Inconsistency(
                ("inputs", index, "profile"),
                f"a source with a profile that inputs[{seen[source, profile]}] has not already",
            )
        seen.setdefault((source, profile), index)


def dividing_quarter(longest_s: int) -> AfterValidator:
    """A validator of intervals of up to so many seconds: calendar figures are merged from quarters of an hour, so that
    no frame may lie across two of them."""

    def checked(value: timedelta) -> timedelta:
        if timedelta(minutes=15) % value:
            fitting = [s for s in range(10, longest_s + 1) if 900 % s == 0]
            nearest = min(fitting, key=lambda s: abs(s - value.total_seconds()))
            raise PydanticCustomError(
                "frame_interval",
                "allowed: {allowed}",
                {
                    "allowed": "a divisor of 15min: " + ", ".join(f"{s}s" for s in fitting),
                    "nearest": f"{nearest}s",
                },
            )
        return value

    return AfterValidator(checked)


class CounterVerdict(SettingsModel):
    """What the owner says of readings of a counter, in place of what would be made of them (table counter_ledger)."""

    signal: Identifier | None = Field(None, description="Signal of the counter; signal, point or both.")
    point: Text | None = Field(None, description="The source's own name of the counter.")
    source: Identifier | None = Field(None, description="Id of the source that reads it; default any.")
    at: Moment = Field(description="The first reading that it is about, such as 2024-01-31T07:30:00+01:00.")
    until: Moment | None = Field(None, description="The last reading that is doubted; default only those at `at`.")
    verdict: Verdict = Field(
        description="doubt: not believed; reset: begun again at 0; skip: goes on from there, nothing is taken for the "
        "step; count: all of the rise was counted."
    )

    @property
    def word(self) -> OwnersWord:
        """The same as the counters take it."""
        return OwnersWord(self.verdict, self.at, self.until or self.at)

    @classmethod
    def inconsistencies(cls, written: Mapping[str, Any]) -> Iterator[Inconsistency]:
        """It is about a counter, and only what is doubted lasts."""
        if written.get("signal") is None and written.get("point") is None:
            yield Inconsistency(("signal",), "signal, point or both", "nothing", at_key=True)
        at, until = read_moment(written.get("at")), read_moment(written.get("until"))
        if written.get("until") is not None and written.get("verdict") in VERDICTS[1:]:
            yield Inconsistency(("until",), "with verdict: doubt only; the others are about one reading")
        elif at and until and until < at:
            yield Inconsistency(("until",), "a moment that is not before at")


class HeatPump(SettingsModel):
    """A heat pump and the inputs that its signals come from."""

    id: Identifier = Field(description="Id of the heat pump in every table: a to z, 0 to 9 and _.")
    name: Text | None = Field(None, description="Name of the heat pump, for people.")
    model: Text | None = Field(None, description="The maker's designation.")
    rated_power_kw: Annotated[Number, within(0.1, 1000, "kW")] | None = Field(
        None, description="Rated thermal power, kW."
    )
    assumed_flow_rate_l_per_h: Annotated[Number, within(10, 20_000, "l/h")] | None = Field(
        None,
        description="Flow rate, l/h, of a pump of constant speed, with which heat is made from flow and return "
        "temperature while the compressor runs, where no input tells heat, a flow rate or a modulation: a last resort.",
    )
    frame_interval: Annotated[Duration, between("10s", "60s"), dividing_quarter(60)] = Field(
        timedelta(seconds=30),
        description="Finest interval of the frames, 10s to 60s; it must divide 15min.",
    )
    auto_zero: Flag = Field(
        False,
        description="Take the offset between flow and return sensor, which standstills tell, off the heat made from "
        "flow rate and spread; at a standstill heat is then 0.",
    )
    circuits: tuple[Circuit, ...] = Field((), description="The heating circuits that it feeds.")
    consumers: tuple[Consumer, ...] = Field(
        (), description="What uses electricity and is in no meter: the boundaries with it are not told then."
    )
    inputs: tuple[Input, ...] = Field(min_length=1, description="Where its signals come from; at least one.")
    counter_verdicts: tuple[CounterVerdict, ...] = Field(
        (), description="What readings of its counters are, where the owner knows better than table counter_ledger."
    )
    rules: Rules = Field(
        default_factory=Rules,
        description="Rules that differ for this heat pump; only those that are given count.",
    )

    @field_serializer("rules")
    def _only_given_rules(self, rules: Rules) -> dict[str, Any]:
        # What is not given follows the general rules: written out, its default would override them.
        dumped = {}
        for name in sorted(rules.model_fields_set):
            value = getattr(rules, name)
            dumped[name] = format_duration(value) if isinstance(value, timedelta) else value
        return dumped

    @classmethod
    def inconsistencies(cls, written: Mapping[str, Any]) -> Iterator[Inconsistency]:
        """Circuits have ids of their own, and no input is there twice."""
        yield from repeated(written, "circuits", "id")
        yield from repeated_inputs(written)
        sources = [item.get("source") for _, item in mappings(written, "inputs")]
        told: set[str] = set()
        for index, verdict in mappings(written, "counter_verdicts"):
            for item in CounterVerdict.inconsistencies(verdict):
                yield item.below("counter_verdicts", index)
            signal, source = verdict.get("signal"), verdict.get("source")
            if isinstance(signal, str) and (signal not in signals() or signals()[signal].counter is None):
                near = nearest_word(signal, [name for name, known in signals().items() if known.counter])
                yield Inconsistency(("counter_verdicts", index, "signal"), "the signal of a counter", nearest=near)
            if isinstance(source, str) and source not in sources:
                yield Inconsistency(("counter_verdicts", index, "source"), "the source of one of the inputs")
            moment = read_moment(verdict.get("at"))
            whose = repr((signal, verdict.get("point"), source, moment))
            if moment is not None and whose in told:
                yield Inconsistency(("counter_verdicts", index, "at"), "one verdict for each reading")
            told.add(whose)


class Measuring(Protocol):
    """What is known of a meter."""

    @property
    def includes(self) -> Collection[str]:
        """What the measured energy includes."""

    @property
    def is_classed(self) -> bool:
        """Whether it has the class of a meter of its own."""


_Measuring = TypeVar("_Measuring", bound=Measuring)


def counting_meters(meters: Iterable[_Measuring]) -> list[_Measuring]:
    """The meters of a kind of energy that name their source without those that count no more: a machine's own word of
    what a meter with a class includes. Those that are left measure a part of it each, or all of them the same."""
    found = list(meters)
    classed = {consumer for meter in found if meter.is_classed for consumer in meter.includes}
    return [meter for meter in found if meter.is_classed or classed.isdisjoint(meter.includes)]


def is_class(accuracy: object) -> bool:
    """Whether it is the class of a meter of its own."""
    return accuracy not in {"device", "calculated"}


MeterAccuracy = Literal["A", "B", "C", "1", "2", "3", "device", "calculated"]
"""How far a meter may be from the truth: it decides the band of every figure made with it."""


class Meter(SettingsModel):
    """A signal that counts energy or power, and what it includes: the boundary of every COP made with it."""

    id: Identifier = Field(description="Id of the meter: a to z, 0 to 9 and _.")
    heat_pump: Identifier = Field(description="Id of the heat pump that is measured.")
    measures: Literal["electrical", "thermal"] = Field(description="electrical: energy in; thermal: energy out.")
    signal: Identifier = Field(description="The signal that it gives, such as electrical_power.")
    source: Identifier | None = Field(
        None,
        description="Id of the source whose readings are this meter's: they come before what machines tell of "
        "themselves. Default: what its profile says. Meters that include something else each are added; each of them "
        "names its own.",
    )
    includes: tuple[Consumer, ...] = Field(min_length=1, description="What the measured energy includes.")
    accuracy: MeterAccuracy = Field(
        "device",
        description="Class on its plate: A, B or C (electricity, MID), 1, 2 or 3 (heat, EN 1434); device for what the "
        "machine tells itself, calculated for what is reckoned.",
    )
    nominal_flow_l_per_h: Annotated[Number, within(1, 100_000, "l/h")] = Field(
        1500.0, description="Nominal flow (qp) of a heat meter, l/h."
    )
    least_spread_k: Annotated[Number, within(0.1, 20, "K")] = Field(
        3.0, description="Least spread of flow and return temperature of a heat meter, K."
    )

    @property
    def is_classed(self) -> bool:
        """Whether it has the class of a meter of its own."""
        return is_class(self.accuracy)

    @classmethod
    def inconsistencies(cls, written: Mapping[str, Any]) -> Iterator[Inconsistency]:
        """Nothing is included twice, and the class is one of the kind of meter."""
        fitting = {"electrical": ("A", "B", "C"), "thermal": ("1", "2", "3")}.get(str(written.get("measures")))
        accuracy = written.get("accuracy")
        if fitting and accuracy in {"A", "B", "C", "1", "2", "3"} and accuracy not in fitting:
            yield Inconsistency(("accuracy",), f"{', '.join(fitting)}, device or calculated")
        includes = written.get("includes")
        seen: set[str] = set()
        for index, consumer in enumerate(includes if isinstance(includes, list) else []):
            if isinstance(consumer, str):
                if consumer in seen:
                    yield Inconsistency(("includes", index), "each of them once")
                seen.add(consumer)
