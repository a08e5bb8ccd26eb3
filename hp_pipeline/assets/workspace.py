"""The data folder of a house, with what its settings say."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import ClassVar, TypeVar

from hp_pipeline.lake import Column, Lake, Table, publish_catalogue, utc_today
from hp_pipeline.settings import FilesSource, HeatPump, Meter, Settings, SolarSystem
from hp_pipeline.settings.house import counting_meters
from hp_pipeline.transforms.reckoned import Reckoned
from hp_pipeline.transforms.schema import schema_of
from hp_pipeline.vocabulary.boundaries import MAIN_METERS, METERED_APART, Metering
from hp_pipeline.vocabulary.counters import CounterRule
from hp_pipeline.vocabulary.energies import POWERS, SIGNALS, counters_of
from hp_pipeline.vocabulary.meters import MeterError, electricity_meter, heat_meter
from hp_pipeline.vocabulary.profiles import Profile, SignalMapping
from hp_pipeline.vocabulary.rules import Rules, SolarRules
from hp_pipeline.vocabulary.tables import tables
from hp_pipeline.vocabulary.ways import DEVICE_COUNTER, DEVICE_POWER, FLOW, METER_COUNTER, METER_POWER

log = logging.getLogger(__name__)

_Item = TypeVar("_Item")


def open_lake(data: Path, today: Callable[[], date] = utc_today) -> Lake:
    """The tables below a data folder. `today` (UTC) tells which months are over."""
    described = tables()
    return Lake(data / "lake", schema_of, lambda table: table in described and described[table].by_month, today)


class Workspace:
    """Settings and data folder together.

    Attributes:
        settings: what the owner wrote.
        data: the data folder.

    Args:
        today: as of `open_lake`.
    """

    def __init__(self, settings: Settings, data: Path, today: Callable[[], date] = utc_today) -> None:
        self.settings = settings
        self.data = data.absolute()
        self.lake = open_lake(self.data, today)

    @property
    def database(self) -> Path:
        """The DuckDB database of views that people open."""
        return self.data / "hp.duckdb"

    @property
    def exports(self) -> Path:
        """Where CSV files for people go."""
        return self.data / "exports"

    @property
    def archive(self) -> Path:
        """Where files go once they are taken in, by source."""
        return self.data / "archive"

    @property
    def quarantine(self) -> Path:
        """Where files go that could not be taken in, by source, each with a report."""
        return self.data / "quarantine"

    @property
    def ledger(self) -> Path:
        """Where it is written which files were taken in."""
        return self.data / "ledger"

    def drop_folder(self, source: FilesSource) -> Path:
        """The folder from which a source takes what is dropped into it."""
        return self.data / source.folder

    def publish(self) -> bool:
        """Bring the DuckDB catalogue up to date. Returns whether it was written.

        What keeps it from being written (a damaged partition file, which a view over it cannot bear) is logged and
        stops nobody: it holds no data, and is written at the next call after the remedy.
        """
        described = [
            Table(
                table.name,
                table.description,
                tuple(
                    Column(
                        column.name,
                        column.type,
                        f"{column.description} [{column.unit}]" if column.unit else column.description,
                    )
                    for column in table.columns
                ),
                dated=table.partitions != "none",
            )
            for table in tables().values()
        ]
        try:
            return publish_catalogue(self.lake, described, self.database)
        except Exception as error:
            log.warning("%s could not be written anew: %s", self.database, error)
            return False

    @property
    def plants(self) -> tuple[Plant, ...]:
        """All plants of the settings, in the order in which they are made: one may follow from those before it."""
        return (
            *(self.plant(heat_pump.id) for heat_pump in self.settings.heat_pumps),
            *(self.solar_plant(system.id) for system in self.settings.solar_systems),
        )

    def fed_by(self, *sources: str) -> tuple[Plant, ...]:
        """The plants whose tables follow from one of the sources, in the order of `plants`."""
        assets = {f"readings/{source}" for source in sources}
        return tuple(plant for plant in self.plants if assets.intersection(plant.fed_from))

    def plant(self, heat_pump: str) -> Plant:
        """One heat pump with all that decides its figures."""
        return Plant(self, self.settings.heat_pump(heat_pump))

    def solar_plant(self, solar_system: str) -> SolarPlant:
        """One solar heating with all that decides its figures."""
        return SolarPlant(self, self.settings.solar_system(solar_system))


def _first_of(mappings: Iterable[tuple[str, SignalMapping]]) -> dict[str, SignalMapping]:
    """By signal the first of its mappings."""
    found: dict[str, SignalMapping] = {}
    for name, mapping in mappings:
        found.setdefault(name, mapping)
    return found


def _error_of(kind: str, meter: Meter) -> MeterError:
    if kind == "electrical":
        return electricity_meter(meter.accuracy)
    return heat_meter(meter.accuracy, meter.nominal_flow_l_per_h, meter.least_spread_k)


def _included(meters: Sequence[Meter]) -> tuple[str, ...] | None:
    """What meters include together; None where there is none."""
    return tuple(sorted(set(chain.from_iterable(meter.includes for meter in meters)))) if meters else None


def _by_parts(
    inputs: Iterable[tuple[str, Profile]], signals: Iterable[str], parts: Mapping[str, str]
) -> tuple[tuple[str, Profile], ...]:
    """The inputs with what meters tell of an energy as the part that they measure of it, by source. A signal that not
    every part tells is left out: it would be taken for the whole."""
    inputs = tuple(inputs)
    told: dict[str, set[str]] = {part: set() for part in parts.values()}
    for source, profile in inputs:
        if source in parts:
            told[parts[source]] |= profile.metered.intersection(signals)
    everywhere = set.intersection(*told.values())
    found = []
    for source, profile in inputs:
        names = profile.metered.intersection(signals)
        mappings = {name: kept for name, kept in profile.mappings.items() if name not in names - everywhere}
        added = {**profile.added, **dict.fromkeys(names & everywhere, parts.get(source, ""))}
        metered = profile.metered - (names - everywhere)
        found.append((source, replace(profile, mappings=mappings, metered=metered, added=added) if names else profile))
    return tuple(found)


def _sources_by_part(parts: Mapping[str, str]) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(group) for group in _grouped(sorted(parts), lambda source: parts[source]))


def _grouped(items: Iterable[_Item], key: Callable[[_Item], object]) -> list[list[_Item]]:
    """The items by their key, in order."""
    groups: dict[object, list[_Item]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return list(groups.values())


@dataclass(frozen=True)
class Plant:
    """One heat pump (or another part) of a workspace: its inputs, profiles and rules."""

    workspace: Workspace
    part: HeatPump | SolarSystem

    frames: ClassVar[str] = "frames"
    """The table that says when something is known of it."""
    hours: ClassVar[str] = "hourly"
    days: ClassVar[str] = "daily"

    @property
    def heat_pump(self) -> HeatPump:
        """The heat pump. Raises `LookupError` when it is none."""
        if not isinstance(self.part, HeatPump):
            raise LookupError(f"{self.id} is no heat pump")
        return self.part

    @property
    def id(self) -> str:
        """Its id."""
        return self.part.id

    @property
    def name(self) -> str:
        """What people call it."""
        return self.part.name or self.part.id

    @cached_property
    def profile_words(self) -> list[str]:
        """Everything in the profiles of its inputs that decides what a reading becomes, for a fingerprint."""
        return [line for _, profile in self.inputs for line in profile.fingerprint_data()]

    @property
    def lake(self) -> Lake:
        """The lake that holds its tables."""
        return self.workspace.lake

    @property
    def time_zone(self) -> str:
        """The zone of the house's calendar."""
        return self.workspace.settings.site.time_zone

    @property
    def season_starts(self) -> int:
        """The month with which a heating season begins."""
        return self.workspace.settings.site.heating_season_starts

    @cached_property
    def rules(self) -> Rules:
        """The rules that hold for it, and what its meters include."""
        return replace(self.workspace.settings.operation_rules_for(self.heat_pump), metering=self._metering)

    @cached_property
    def inputs(self) -> tuple[tuple[str, Profile], ...]:
        """Its sources with their profiles, in order of precedence; the profiles say what of them is a meter's."""
        settings = self.workspace.settings
        loaded = [(entry.source, settings.profile_of(entry)) for entry in self.part.inputs]
        metered: list[set[str]] = [set() for _ in loaded]
        for kind in SIGNALS:
            for index in self._metering_inputs(kind, loaded):
                metered[index] |= SIGNALS[kind] & set(loaded[index][1].mappings)
        read = tuple(
            (source, replace(profile, metered=frozenset(names)))
            for (source, profile), names in zip(loaded, metered, strict=True)
        )
        for kind in MAIN_METERS:
            if parts := self._parts(kind):
                read = _by_parts(read, SIGNALS[kind], parts)
        return read

    def _stated_meters(self, kind: str) -> list[Meter]:
        """What the settings state of the meters of a kind of energy. Where some name their source, those alone; and of
        these none without a class that includes what one with a class does: what a machine tells itself is no meter
        beside one."""
        stated = [meter for meter in self.workspace.settings.meters_of(self.id) if meter.signal in SIGNALS[kind]]
        return counting_meters([meter for meter in stated if meter.source]) or stated

    def _parts(self, kind: str) -> dict[str, str]:
        """By source the part that its meter measures, where several meters measure a part of a kind of energy each."""
        parts = {
            meter.source: ", ".join(sorted(meter.includes))
            for meter in self._stated_meters(kind)
            if meter.source and meter.signal in MAIN_METERS.get(kind, ())
        }
        return parts if len(set(parts.values())) > 1 else {}

    def _metering_inputs(self, kind: str, loaded: Sequence[tuple[str, Profile]]) -> list[int]:
        """The inputs whose energy of a kind is a meter's: those of the sources that the settings name, or all of them
        where a class is stated without a source, else those that are meters by their profile.

        Where some of them are meters by their profile, those alone: a source may be read by two profiles. Of parts that
        are added this holds part by part.
        """
        telling = [index for index, (_, profile) in enumerate(loaded) if SIGNALS[kind] & set(profile.mappings)]
        stated = self._stated_meters(kind)
        parts = self._parts(kind)
        sources = set(parts) or {meter.source for meter in stated if meter.source}
        if sources:
            telling = [index for index in telling if loaded[index][0] in sources]
        by_profile = [index for index in telling if loaded[index][1].is_meter]
        told_by_meters = {parts.get(loaded[index][0]) for index in by_profile}
        by_word = [index for index in telling if parts.get(loaded[index][0]) not in told_by_meters]
        claimed = bool(sources) or any(meter.is_classed for meter in stated)
        return sorted([*by_profile, *(by_word if claimed else [])])

    @cached_property
    def meter_mappings(self) -> Mapping[str, SignalMapping]:
        """Of the energies that a meter tells the mapping that takes precedence, by signal."""
        return _first_of((name, profile.mappings[name]) for _, profile in self.inputs for name in profile.metered)

    @cached_property
    def own_mappings(self) -> Mapping[str, SignalMapping]:
        """Of all that is no meter's the mapping that takes precedence, by signal."""
        return _first_of(
            (name, mapping)
            for _, profile in self.inputs
            for name, mapping in profile.mappings.items()
            if name not in profile.metered
        )

    @cached_property
    def mappings(self) -> Mapping[str, SignalMapping]:
        """By signal the mapping that takes precedence: a meter's before any other."""
        return {**self.own_mappings, **self.meter_mappings}

    @cached_property
    def tells_dhw(self) -> bool:
        """Whether its own word for its mode can be dhw."""
        mapping = self.mappings.get("operating_mode")
        return mapping is not None and (mapping.values is None or "dhw" in mapping.values.values())

    @cached_property
    def unzeroed_because(self) -> str | None:
        """Why the offset of its flow and return sensor is not taken off its heat; None when it is."""
        if "thermal_power" in self.mappings:
            return "the device tells its heat itself"
        return None if self.heat_pump.auto_zero else "the settings do not say auto_zero"

    @cached_property
    def reckoned(self) -> Reckoned | None:
        """What heat is calculated from without a flow rate; None where an input tells heat or a flow rate."""
        pump = self.heat_pump
        if (SIGNALS["thermal"] | {"flow_rate"}) & set(self.mappings):
            return None
        rated = pump.rated_power_kw if "compressor_modulation" in self.mappings else None
        spread = "delta_t" in self.mappings or {"flow_temperature", "return_temperature"} <= set(self.mappings)
        flow = pump.assumed_flow_rate_l_per_h if spread else None
        return None if rated is None and flow is None else Reckoned(rated, flow)

    @cached_property
    def _metering(self) -> Metering:
        """What its figures include, by the settings' statement of its meters."""
        meters = self.workspace.settings.meters_of(self.id)
        stated = chain.from_iterable(meter.includes for meter in meters)
        main = {
            kind: [meter for meter in self._stated_meters(kind) if meter.signal in MAIN_METERS[kind]]
            for kind in MAIN_METERS
        }
        apart = {
            consumer: column
            for consumer, (signals, column) in METERED_APART.items()
            if any(signal in self.mappings for signal in signals)
        }
        return Metering(
            electrical=_included(main["electrical"]),
            thermal=_included(main["thermal"]),
            apart=apart,
            # What has a meter of its own is there, whether or not the settings say it once more.
            installed=tuple(sorted({"compressor", *stated, *self.heat_pump.consumers, *apart})),
            errors={kind: self._errors(kind, main[kind]) for kind in MAIN_METERS},
            quanta_kwh={kind: self._quanta(kind) for kind in MAIN_METERS},
            net_counters=self._net_counters,
            apart_errors={
                consumer: electricity_meter(meter.accuracy)
                for consumer, (signals, _) in METERED_APART.items()
                for meter in meters
                if meter.signal in signals
            },
            added={kind: _sources_by_part(parts) for kind in MAIN_METERS if (parts := self._parts(kind))},
        )

    def _errors(self, kind: str, stated: Sequence[Meter]) -> dict[str, MeterError]:
        """The errors that the settings state, by way: of a meter its class, of a machine's own word what it is said to
        be worth. A class of a heat meter that no input tells is that of flow meter and sensors together."""
        if not stated:
            return {}
        told = SIGNALS[kind] & set(self.mappings)
        metered = SIGNALS[kind] & set(self.meter_mappings)
        ordered = sorted(stated, key=lambda meter: not meter.is_classed)
        parts = self._parts(kind)
        counters, powers = (
            [
                next((meter for meter in part if (meter.signal == POWERS[kind]) == is_power), part[0])
                for part in _grouped(ordered, lambda meter: parts.get(meter.source or ""))
            ]
            for is_power in (False, True)
        )
        # Of parts that are added the greatest share is no less than what the errors of all come to.
        counter, power = (
            max((_error_of(kind, meter) for meter in meters), key=lambda error: error.at_plate)
            for meters in (counters, powers)
        )
        if metered:
            return {METER_COUNTER: counter, METER_POWER: power}
        by_flow = {FLOW: power} if kind == "thermal" and not told and powers[0].accuracy != "device" else {}
        return {DEVICE_COUNTER: counter, DEVICE_POWER: power, **by_flow}

    @property
    def _net_counters(self) -> tuple[str, ...]:
        """The ways whose counters of heat count what defrosts take."""
        ways = {METER_COUNTER: self.meter_mappings, DEVICE_COUNTER: self.own_mappings}
        return tuple(
            way
            for way, mappings in ways.items()
            if any(
                (rule := mappings[name].counter) and rule.counts_negative for name in SIGNALS["thermal"] & {*mappings}
            )
        )

    def _quanta(self, kind: str) -> dict[str, float]:
        """By way the step of the counters of a kind of energy, kWh; of several that are added their root sum of
        squares."""
        steps = {}
        for way, mappings in ((METER_COUNTER, self.meter_mappings), (DEVICE_COUNTER, self.own_mappings)):
            names = counters_of(kind, mappings)
            rules = [rule for name in names for rule in self._counter_rules(name, way == METER_COUNTER)]
            steps[way] = math.sqrt(sum((rule.resolution or 0.0) ** 2 for rule in rules))
        return steps

    def _counter_rules(self, name: str, of_meters: bool) -> list[CounterRule]:
        """What the counter of a signal can do that takes precedence, of each part where several are added."""
        first: dict[str, CounterRule] = {}
        for _, profile in self.inputs:
            rule = profile.mappings[name].counter if name in profile.mappings else None
            if rule and (name in profile.metered) == of_meters:
                first.setdefault(profile.added.get(name, ""), rule)
        return list(first.values())

    @cached_property
    def readings(self) -> tuple[str, ...]:
        """The assets of readings that feed it."""
        return tuple(dict.fromkeys(f"readings/{entry.source}" for entry in self.part.inputs))

    @property
    def fed_from(self) -> tuple[str, ...]:
        """The assets of readings that its tables follow from, also by way of other plants."""
        return self.readings


class SolarPlant(Plant):
    """One solar heating of a workspace, with the heat pumps that also heat its tank."""

    frames: ClassVar[str] = "solar_frames"
    hours: ClassVar[str] = "solar_hourly"
    days: ClassVar[str] = "solar_daily"

    def _metering_inputs(self, kind: str, loaded: Sequence[tuple[str, Profile]]) -> list[int]:
        """None: the balance of a tank takes every reading as it comes."""
        return []

    @property
    def solar_system(self) -> SolarSystem:
        """What the settings say of it."""
        return self.workspace.settings.solar_system(self.id)

    @cached_property
    def heat_pumps(self) -> tuple[Plant, ...]:
        """The heat pumps whose domestic hot water is the water of its tank."""
        return tuple(self.workspace.plant(heat_pump) for heat_pump in self.solar_system.heat_pumps)

    @cached_property
    def unzeroed_because(self) -> str | None:
        """It has no flow and return sensor whose offset could be taken off."""
        return "it is no heat pump"

    @cached_property
    def tank_rules(self) -> SolarRules:
        """What its tank is like, and the thresholds of its balance."""
        system, tank = self.solar_system, self.solar_system.tank
        immersion, stove = system.immersion_heater, system.pellet_stove
        return SolarRules(
            litres=tank.litres,
            shares=tank.layer_shares,
            height_m=tank.height_m,
            cold_water_c=tank.cold_water_c,
            usable_c=tank.usable_c,
            ambient_c=tank.ambient_c,
            loss_w_per_k=tank.loss_w_per_k,
            area_m2=system.collector.area_m2,
            stagnation_c=system.collector.stagnation_c,
            immersion_kw=None if immersion is None else immersion.rated_power_kw,
            pellet_kw=None if stove is None else stove.rated_power_kw,
            water_share=None if stove is None else stove.water_share,
            stove_up_to_c=None if stove is None else stove.up_to_c,
            frame_interval=system.frame_interval,
            max_gap=system.max_gap,
            dead_band_kwh=system.dead_band_kwh,
        )

    @property
    def fed_from(self) -> tuple[str, ...]:
        """Its own readings and those of the heat pumps that heat its tank."""
        others = (asset for plant in self.heat_pumps for asset in plant.readings)
        return tuple(dict.fromkeys((*self.readings, *others)))
