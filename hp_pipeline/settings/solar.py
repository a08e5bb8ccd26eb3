"""Solar heating systems: a layered tank with what heats it."""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Annotated, Any

from pydantic import Field

from hp_pipeline.settings.durations import Duration, between
from hp_pipeline.settings.house import Input, dividing_quarter, repeated_inputs
from hp_pipeline.settings.model import Identifier, Inconsistency, Number, SettingsModel, Text, mapping, within

MOST_LAYERS = 8
"""As many signals of layers as the vocabulary has."""


class Tank(SettingsModel):
    """The tank: what its layers hold, and what it loses."""

    litres: Annotated[Number, within(20, 100_000, "litres")] = Field(description="Water in the tank, litres.")
    layers: Annotated[int, Field(strict=True), within(1, MOST_LAYERS)] = Field(
        MOST_LAYERS, description="How many temperatures it has, 1 to 8, counted from below (tank_layer_1_temperature)."
    )
    shares: tuple[Annotated[Number, within(0.001, 1, "of the tank")], ...] = Field(
        (), description="Share of the water for which each layer stands, from below, together 1; default equal shares."
    )
    height_m: Annotated[Number, within(0.1, 20, "m")] | None = Field(
        None, description="From the lowest to the highest temperature sensor, m."
    )
    cold_water_c: Annotated[Number, within(0, 40, "°C")] = Field(
        10.0, description="Temperature at which the tank holds nothing: that of the cold water, 0 to 40 °C."
    )
    usable_c: Annotated[Number, within(25, 90, "°C")] = Field(
        40.0, description="Water of this temperature is what usable litres are counted in, 25 to 90 °C."
    )
    ambient_c: Annotated[Number, within(-20, 50, "°C")] = Field(
        20.0, description="Temperature around the tank, -20 to 50 °C."
    )
    loss_w_per_k: Annotated[Number, within(0.1, 100, "W/K")] | None = Field(
        None, description="What it loses through its insulation, W/K; the daily figures say what it seems to be."
    )

    @classmethod
    def inconsistencies(cls, written: Mapping[str, Any]) -> Iterator[Inconsistency]:
        """One share for each layer, all of the water, and usable water warmer than cold water."""
        shares, layers = written.get("shares"), written.get("layers", MOST_LAYERS)
        if isinstance(shares, list) and shares and isinstance(layers, int):
            if len(shares) != layers:
                yield Inconsistency(("shares",), f"a share for each of the {layers} layers", f"{len(shares)} of them")
            elif all(isinstance(share, int | float) for share in shares) and abs(sum(shares) - 1) > 0.005:
                yield Inconsistency(("shares",), "shares that are 1 together", f"{sum(shares):.3g} together")
        cold, usable = written.get("cold_water_c", 10.0), written.get("usable_c", 40.0)
        if isinstance(cold, int | float) and isinstance(usable, int | float) and usable <= cold:
            at = "usable_c" if "usable_c" in written else "cold_water_c"
            yield Inconsistency((at,), f"usable_c ({usable:g}) above cold_water_c ({cold:g})")

    @property
    def layer_shares(self) -> tuple[float, ...]:
        """The share of each layer, from below."""
        return self.shares or (1 / self.layers,) * self.layers


class Collector(SettingsModel):
    """The solar collector."""

    area_m2: Annotated[Number, within(0.1, 10_000, "m2")] | None = Field(None, description="Area, m2.")
    stagnation_c: Annotated[Number, within(60, 300, "°C")] = Field(
        120.0, description="From here on, with the pump off, it stagnates, 60 to 300 °C."
    )


class ImmersionHeater(SettingsModel):
    """The heating rod in the tank."""

    rated_power_kw: Annotated[Number, within(0.1, 100, "kW")] = Field(
        description="What it takes while it is on, kW; its meter, where there is one, comes first."
    )


class PelletStove(SettingsModel):
    """The stove that heats the tank, with pellets or wood."""

    rated_power_kw: Annotated[Number, within(0.1, 100, "kW")] | None = Field(
        None, description="Its heat while it burns, kW, where it does not tell its power; default none."
    )
    water_share: Annotated[Number, within(0, 1, "of its heat")] = Field(
        1.0, description="Share of its heat that goes into the tank, 0 to 1; the rest warms the room."
    )
    up_to_c: Annotated[Number, within(30, 110, "°C")] | None = Field(
        None, description="Temperature of the highest layer from which on it heats the tank no more; default none."
    )


class SolarSystem(SettingsModel):
    """A tank with a solar collector, an immersion heater, a pellet stove, and the heat pumps that also heat it."""

    id: Identifier = Field(description="Id of the solar heating in every table: a to z, 0 to 9 and _.")
    name: Text | None = Field(None, description="Name of the solar heating, for people.")
    inputs: tuple[Input, ...] = Field(min_length=1, description="Where its signals come from; at least one.")
    heat_pumps: tuple[Identifier, ...] = Field(
        (),
        description="Ids of the heat pumps whose domestic hot water is the water of this tank: their heat in mode dhw "
        "goes into it.",
    )
    tank: Tank = Field(description="What the tank is like.")
    collector: Collector = Field(default_factory=Collector, description="What the collector is like.")
    immersion_heater: ImmersionHeater | None = Field(None, description="The heating rod, if there is one.")
    pellet_stove: PelletStove | None = Field(None, description="The stove, if there is one.")
    frame_interval: Annotated[Duration, between("10s", "5min"), dividing_quarter(300)] = Field(
        timedelta(seconds=30),
        description="Finest interval at which the tank is looked at, 10s to 5min; it must divide 15min.",
    )
    max_gap: Annotated[Duration, between("1min", "1h")] = Field(
        timedelta(minutes=10),
        description="Between readings further apart nothing is known, 1min to 1h.",
    )
    dead_band_kwh: Annotated[Number, within(0.001, 10, "kWh")] = Field(
        0.05, description="A gain or loss counts when it is greater than this: noise of the sensors is not, kWh."
    )

    @classmethod
    def inconsistencies(cls, written: Mapping[str, Any]) -> Iterator[Inconsistency]:
        """No input and no heat pump is there twice, and the tank is right in itself."""
        yield from repeated_inputs(written)
        for item in Tank.inconsistencies(mapping(written, "tank")):
            yield item.below("tank")
        pumps = written.get("heat_pumps")
        seen: set[str] = set()
        for index, pump in enumerate(pumps if isinstance(pumps, list) else []):
            if isinstance(pump, str) and pump in seen:
                yield Inconsistency(("heat_pumps", index), "each of them once")
            seen.add(str(pump))
