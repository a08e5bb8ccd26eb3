"""The whole settings file as one model."""

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, Field, PrivateAttr

from hp_pipeline.settings.durations import read_duration
from hp_pipeline.settings.house import HeatPump, Input, Meter, Site, counting_meters, is_class
from hp_pipeline.settings.model import (
    Inconsistency,
    SettingsModel,
    mapping,
    mappings,
    nearest_word,
    repeated,
)
from hp_pipeline.settings.outputs import Outputs
from hp_pipeline.settings.rules import Rules
from hp_pipeline.settings.solar import SolarSystem
from hp_pipeline.settings.sources import SOURCE_KINDS, Source
from hp_pipeline.settings.tariffs import Tariff
from hp_pipeline.settings.upkeep import Automation, LandingRules
from hp_pipeline.vocabulary.boundaries import MAIN_METERS
from hp_pipeline.vocabulary.durations import format_duration
from hp_pipeline.vocabulary.profiles import Profile, load_profile
from hp_pipeline.vocabulary.rules import Rules as OperationRules

_Part = TypeVar("_Part", HeatPump, SolarSystem, Source)


class Settings(SettingsModel):
    """Everything that the owner has written: frozen, complete, and right in itself."""

    site: Site = Field(description="The house.")
    heat_pumps: tuple[HeatPump, ...] = Field(min_length=1, description="The heat pumps; at least one.")
    sources: tuple[Source, ...] = Field(min_length=1, description="Where readings come from; at least one.")
    solar_systems: tuple[SolarSystem, ...] = Field((), description="Solar heating systems with their tanks.")
    meters: tuple[Meter, ...] = Field((), description="What is measured, and what it includes.")
    rules: Rules = Field(default_factory=Rules, description="Rules for all heat pumps.")
    tariffs: tuple[Tariff, ...] = Field((), description="Prices of electricity, each from its day on.")
    outputs: Outputs = Field(default_factory=Outputs, description="What is handed out without being asked for.")
    automation: Automation = Field(default_factory=Automation, description="How often the pipeline works by itself.")
    landing: LandingRules = Field(default_factory=LandingRules, description="What the collector keeps on the disk.")

    _directory: Path = PrivateAttr(default_factory=Path)

    def model_post_init(self, context: Any, /) -> None:
        """Takes the folder of the settings file from the validation context, if there is one."""
        if isinstance(context, Mapping) and "directory" in context:
            self._directory = Path(context["directory"])

    @property
    def directory(self) -> Path:
        """The folder that the settings were read from; paths of profiles are relative to it."""
        return self._directory

    def heat_pump(self, heat_pump_id: str) -> HeatPump:
        """The heat pump with this id. Raises `LookupError`, which names those that there are."""
        return _by_id("heat pump", self.heat_pumps, heat_pump_id)

    def solar_system(self, solar_system_id: str) -> SolarSystem:
        """The solar heating with this id. Raises `LookupError`, which names those that there are."""
        return _by_id("solar heating", self.solar_systems, solar_system_id)

    def source(self, source_id: str) -> Source:
        """The source with this id. Raises `LookupError`, which names those that there are."""
        return _by_id("source", self.sources, source_id)

    def rules_for(self, heat_pump: HeatPump | str) -> Rules:
        """The rules that hold for a heat pump: the general ones, with its own in their place."""
        own = (self.heat_pump(heat_pump) if isinstance(heat_pump, str) else heat_pump).rules
        return self.rules.model_copy(update={name: getattr(own, name) for name in own.model_fields_set})

    def operation_rules_for(self, heat_pump: HeatPump | str) -> OperationRules:
        """The same rules in the form that the transforms take, with the heat pump's frame interval."""
        owner = self.heat_pump(heat_pump) if isinstance(heat_pump, str) else heat_pump
        rules = self.rules_for(owner)
        names = [field.name for field in dataclasses.fields(OperationRules)]
        shared = {name: getattr(rules, name) for name in names if name not in {"frame_interval", "metering"}}
        return OperationRules(frame_interval=owner.frame_interval, **shared)

    def inputs_of(self, source_id: str) -> tuple[tuple[HeatPump | SolarSystem, Input], ...]:
        """The inputs that read from a source, each with its heat pump or solar heating, in the order of the file."""
        self.source(source_id)
        owners: tuple[HeatPump | SolarSystem, ...] = (*self.heat_pumps, *self.solar_systems)
        return tuple((owner, item) for owner in owners for item in owner.inputs if item.source == source_id)

    def meters_of(self, heat_pump_id: str) -> tuple[Meter, ...]:
        """The meters of a heat pump, in the order of the file."""
        return tuple(meter for meter in self.meters if meter.heat_pump == heat_pump_id)

    def tariff_on(self, day: date) -> Tariff | None:
        """The tariff that holds on a day of the house's calendar; None before the first one."""
        started = [tariff for tariff in self.tariffs if tariff.valid_from <= day]
        return max(started, key=lambda tariff: tariff.valid_from, default=None)

    def price_files(self, tariff: Tariff) -> tuple[Path, ...]:
        """The files that a tariff's prices are in, by name; none where it has none, or none is there yet."""
        if tariff.prices is None:
            return ()
        pattern = Path(tariff.prices.files).expanduser()
        folder, wanted = (self._directory / pattern).parent, pattern.name
        return tuple(sorted(path for path in folder.glob(wanted) if path.is_file()))

    def profile_of(self, item: Input) -> Profile:
        """The profile of an input with the owner's signals merged over it, read anew at each call.

        Raises `hp_pipeline.vocabulary.profiles.ProfileError`, which cannot happen with settings that
        `load_settings` has given, unless a file was changed since.
        """
        return load_profile(item.profile, item.signals, self._directory)

    def fingerprint(self, *parts: BaseModel | Iterable[BaseModel]) -> str:
        """16 hexadecimal digits that stand for the content of the given parts, or of all settings.

        The same content gives the same digits, whatever the order of keys, the spelling of durations, the
        comments and the secrets, on every machine. Use it to say which settings a figure was made with.
        """
        flat = [
            _canonical(part) if isinstance(part, BaseModel) else [_canonical(item) for item in part]
            for part in (parts or (self,))
        ]
        text = json.dumps(flat, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @classmethod
    def inconsistencies(cls, written: Mapping[str, Any]) -> Iterator[Inconsistency]:
        """Everything that contradicts something else, in all parts of the file."""
        yield from _below("site", Site, written)
        for key in ("heat_pumps", "solar_systems", "sources", "meters"):
            yield from repeated(written, key, "id")
        pumps = _ids(written, "heat_pumps")
        for index, system in mappings(written, "solar_systems"):
            if system.get("id") in pumps:
                yield Inconsistency(("solar_systems", index, "id"), "an id that no heat pump has")
        yield from repeated(written, "tariffs", "from")
        yield from _below("heat_pumps", HeatPump, written)
        yield from _below("solar_systems", SolarSystem, written)
        yield from _below("meters", Meter, written)
        yield from _below("tariffs", Tariff, written)
        for index, source in mappings(written, "sources"):
            kind = source.get("kind")
            if isinstance(kind, str) and kind in SOURCE_KINDS:
                for item in SOURCE_KINDS[kind].inconsistencies(source):
                    yield item.below("sources", index)
        yield from _dangling(written)
        yield from _inseparable_meters(written)
        yield from _shared_folders(written)
        yield from _held_over_gaps(written)


def _by_id(what: str, parts: Iterable[_Part], part_id: str) -> _Part:
    by_id = {part.id: part for part in parts}
    if part_id in by_id:
        return by_id[part_id]
    near = nearest_word(part_id, by_id)
    hint = f". Did you mean {near!r}?" if near else ""
    raise LookupError(f"no {what} has the id {part_id!r}; there are: {', '.join(by_id)}{hint}")


def _canonical(part: BaseModel) -> object:
    return part.model_dump(mode="json")


def _below(key: str, model: type[SettingsModel], written: Mapping[str, Any]) -> Iterator[Inconsistency]:
    if isinstance(written.get(key), Mapping):
        for item in model.inconsistencies(written[key]):
            yield item.below(key)
    for index, entry in mappings(written, key):
        for item in model.inconsistencies(entry):
            yield item.below(key, index)


def _ids(written: Mapping[str, Any], key: str) -> list[str]:
    ids = (entry.get("id") for _, entry in mappings(written, key))
    return list(dict.fromkeys(part_id for part_id in ids if isinstance(part_id, str)))


def _dangling(written: Mapping[str, Any]) -> Iterator[Inconsistency]:
    """Ids that name nothing. With no id at all there is nothing to choose from, and another mistake to fix."""
    sources, heat_pumps = _ids(written, "sources"), _ids(written, "heat_pumps")
    for key in ("heat_pumps", "solar_systems"):
        for index, owner_of in mappings(written, key):
            for place, item in mappings(owner_of, "inputs"):
                source = item.get("source")
                if sources and isinstance(source, str) and source not in sources:
                    yield Inconsistency(
                        (key, index, "inputs", place, "source"),
                        f"the id of a source: {', '.join(sources)}",
                        nearest=nearest_word(source, sources),
                    )
    for index, system in mappings(written, "solar_systems"):
        pumps = system.get("heat_pumps")
        for place, pump in enumerate(pumps if isinstance(pumps, list) else []):
            if heat_pumps and isinstance(pump, str) and pump not in heat_pumps:
                yield Inconsistency(
                    ("solar_systems", index, "heat_pumps", place),
                    f"the id of a heat pump: {', '.join(heat_pumps)}",
                    nearest=nearest_word(pump, heat_pumps),
                )
    for index, meter in mappings(written, "meters"):
        owner = meter.get("heat_pump")
        if heat_pumps and isinstance(owner, str) and owner not in heat_pumps:
            yield Inconsistency(
                ("meters", index, "heat_pump"),
                f"the id of a heat pump: {', '.join(heat_pumps)}",
                nearest=nearest_word(owner, heat_pumps),
            )
        read = [
            item.get("source")
            for _, pump in mappings(written, "heat_pumps")
            if pump.get("id") == owner
            for _, item in mappings(pump, "inputs")
        ]
        own = list(dict.fromkeys(source for source in read if isinstance(source, str)))
        source = meter.get("source")
        if own and isinstance(source, str) and source not in own:
            yield Inconsistency(
                ("meters", index, "source"),
                f"the source of an input of {owner}: {', '.join(own)}",
                nearest=nearest_word(source, own),
            )


@dataclasses.dataclass(frozen=True)
class WrittenMeter:
    """A meter as it is written, at its place."""

    index: int
    written: Mapping[str, Any]
    includes: tuple[str, ...]

    @property
    def source(self) -> object:
        """The source that it names."""
        return self.written.get("source")

    @property
    def is_classed(self) -> bool:
        """Whether it has the class of a meter of its own."""
        return is_class(self.written.get("accuracy") or "device")

    @property
    def called(self) -> str:
        """How it is called in a mistake of another."""
        return f"meters[{self.index}], {self.written.get('id')!r}"


def meters_of_one_energy(written: Mapping[str, Any]) -> Iterator[tuple[str, list[WrittenMeter]]]:
    """By kind of energy the meters of each heat pump that count, in the order of the file."""
    for pump in _ids(written, "heat_pumps"):
        for kind, names in MAIN_METERS.items():
            stated = [
                WrittenMeter(index, meter, tuple(includes))
                for index, meter in mappings(written, "meters")
                if meter.get("heat_pump") == pump and meter.get("signal") in names
                if isinstance(includes := meter.get("includes"), list) and all(isinstance(one, str) for one in includes)
            ]
            yield kind, counting_meters([meter for meter in stated if meter.source is not None]) or stated


def _inseparable_meters(written: Mapping[str, Any]) -> Iterator[Inconsistency]:
    """Meters that include something else each, and cannot be added: what they measure is one or overlaps."""
    for kind, meters in meters_of_one_energy(written):
        for place, meter in enumerate(meters):
            for other in meters[:place]:
                if {*meter.includes} != {*other.includes}:
                    yield from _inseparable(kind, other, meter)


def _inseparable(kind: str, one: WrittenMeter, other: WrittenMeter) -> Iterator[Inconsistency]:
    remedy = "a part of what another measures has a signal of its own, such as backup_heater_power"
    if one.source == other.source:
        yield Inconsistency(
            ("meters", other.index, "source"),
            f"a source that is not that of {one.called}, which includes something else: {kind} meters of one heat pump "
            f"are added; {remedy}",
            "nothing" if other.source is None else None,
            at_key=other.source is None,
        )
        return
    for place, consumer in enumerate(other.includes):
        if consumer in one.includes:
            yield Inconsistency(
                ("meters", other.index, "includes", place),
                f"what {one.called}, does not include, or all that it does: {kind} meters of one heat pump are added; "
                f"{remedy}",
            )


def _shared_folders(written: Mapping[str, Any]) -> Iterator[Inconsistency]:
    """A file must belong to one source."""
    owners: dict[str, int] = {}
    for index, source in mappings(written, "sources"):
        if source.get("kind") != "files":
            continue
        folder = source.get("drop_folder") or f"drop/{source.get('id')}"
        if not isinstance(folder, str):
            continue
        plain = Path(folder).as_posix()
        if plain in owners and source.get("id") != written["sources"][owners[plain]].get("id"):
            yield Inconsistency(
                ("sources", index, "drop_folder"),
                f"a folder of its own; sources[{owners[plain]}] has this one",
                f"{folder!r}",
            )
        owners.setdefault(plain, index)


def _held_over_gaps(written: Mapping[str, Any]) -> Iterator[Inconsistency]:
    """A reading must not be held over a gap that ends a session."""
    general = mapping(written, "rules")
    own = [(("heat_pumps", i, "rules"), mapping(entry, "rules")) for i, entry in mappings(written, "heat_pumps")]
    for place, rules in [(("rules",), general), *own]:
        merged = {**general, **rules}
        hold, gap = _rule(merged, "hold"), _rule(merged, "session_gap")
        if not rules or not hold or not gap or hold <= gap:
            continue
        if "hold" in rules:
            yield Inconsistency((*place, "hold"), f"at most session_gap, {format_duration(gap)}")
        elif "session_gap" in rules:
            yield Inconsistency((*place, "session_gap"), f"at least hold, {format_duration(hold)}")


def _rule(written: Mapping[str, Any], key: str) -> timedelta | None:
    """The duration of a rule as written or as parsed, its default when absent, None when it is wrong."""
    value = written.get(key)
    return read_duration(Rules.model_fields[key].default if value is None else value)


def settings_json_schema() -> dict[str, Any]:
    """The JSON schema (2020-12) of the settings file, with which an editor completes and checks it."""
    schema = Settings.model_json_schema(by_alias=True, mode="validation")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "hp.yaml", **schema}
