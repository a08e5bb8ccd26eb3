"""What stands in the house: heat pump, emitters, tank, people and controls, as named numbers with units.

`PRESETS` holds the four houses of the demo street. Heat pump figures are fitted to public Keymark certificates
(EN 14511 and EN 14825 points, data set of FZJ-IEK3-VSA/hplib, CC BY 4.0); buildings are plausible, not surveyed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

WATER_KJ_PER_KG_K: Final = 4.1868
"""Specific heat of the heating water; its density is taken as 1 kg/l, as heat from flow and spread is."""
ZERO_CELSIUS_K: Final = 273.15


class Control(StrEnum):
    """How the controller decides that the compressor runs for heating."""

    ROOM_THERMOSTAT = "room_thermostat"
    """The room asks for heat, the unit reports heating until it no longer does; inside, the compressor keeps the
    leaving water near its set-point and pauses when even the lowest speed is too much (Daikin)."""
    RETURN_HYSTERESIS = "return_hysteresis"
    """Start and stop by the return temperature; heating is reported while the compressor runs (Luxtronik, WPM)."""
    DEGREE_MINUTES = "degree_minutes"
    """Start after a deficit of degree minutes, stop when it is made up (Viessmann)."""


class Legionella(StrEnum):
    """What lifts the tank over the legionella temperature once a week."""

    IMMERSION = "immersion"
    BACKUP_HEATER = "backup_heater"


@dataclass(frozen=True)
class HeatPump:
    """Air/water heat pump with an inverter compressor.

    Full-load heat: Q_max = full_load_kw · (1 + a (T_out + 7)) · (1 - b (T_flow - 35)).
    Compressor power: P = fixed_power_kw + Q (T_c - T_e) / (carnot_efficiency · T_c) in kelvin, with the condensing
    temperature T_c = T_flow + condenser_approach_k · q, the evaporating temperature
    T_e = T_out - evaporator_offset_k - evaporator_approach_k · q, and q = Q / full_load_kw.
    Five parameters meet the ten Keymark points of 1690 machines with a median error of 6.3 %.
    """

    full_load_kw: float
    """Heat at A-7/W35, full speed."""
    minimum_kw: float
    """Heat at the lowest speed, outdoor 7 °C."""
    carnot_efficiency: float
    condenser_approach_k: float
    evaporator_approach_k: float
    evaporator_offset_k: float
    fixed_power_kw: float
    capacity_per_k_outdoor: float = 0.021
    capacity_per_k_flow: float = 0.0045
    minimum_per_k_outdoor: float = 0.018
    flow_limit_c: float = 60.0
    minimum_hz: float = 24.0
    maximum_hz: float = 92.0
    ramp_s: float = 600.0
    """Time from standstill to full load."""
    soft_start_s: float = 90.0
    condenser_kj_per_k: float = 55.0
    """Heat capacity of the condenser, the backup heater's vessel and their pipes."""
    minimum_run_s: float = 420.0
    minimum_off_s: float = 600.0
    start_delay_s: float = 40.0
    """The pump runs this long before the compressor does."""
    standby_kw: float = 0.011
    fan_kw: float = 0.055
    crankcase_kw: float = 0.028
    """Sump heater: on below 10 °C outdoor once the compressor has been off for an hour."""


@dataclass(frozen=True)
class Defrost:
    """Reverse-cycle defrost: frost is counted in charges (1 = defrost due), melting takes melt_kwh per charge."""

    frost_rate: float = 0.26
    """Charges per second and per kg/kg of humidity above saturation at the evaporator."""
    least_run_s: float = 1500.0
    melt_kwh: float = 0.33
    heat_taken_kw: float = 4.6
    """Heat taken out of the water while reversed."""
    power_kw: float = 0.85
    slow_down_s: float = 30.0
    """Flag already on, four-way valve not yet turned, compressor slowing down."""
    drip_s: float = 70.0
    """Compressor stands, water drips off, pressures even out."""
    restart_s: float = 50.0
    """Compressor heats again, flag still on."""
    tank_share: float = 0.0
    """Share of the defrosts inside heating that take their heat from a warm tank (three-way valve to hot water)."""
    tank_from_c: float = 34.0
    """Lower tank temperature from which the tank may serve."""
    tank_lead_s: float = 55.0
    """The valve turns up to this long before the flag comes on (drawn anew for each defrost)."""
    guard_flow_c: float = 14.0
    """Leaving water colder than this during a defrost calls the backup heater."""


@dataclass(frozen=True)
class Hydraulics:
    """Pump, emitter circuit and return pipe."""

    pump_step_l_per_min: float = 0.6
    """The pump runs at whole multiples of this flow rate."""
    heating_l_per_min: float = 21.6
    dhw_l_per_min: float = 24.0
    defrost_l_per_min: float = 21.0
    lowest_l_per_min: float = 10.8
    target_spread_k: float = 0.0
    """The pump is slowed until flow - return is this much while heating; 0 = constant flow rate."""
    return_lag_s: float = 150.0
    water_to_emitter_kw_per_k: float = 1.1
    emitter_to_room_kw_per_k: float = 1.35
    emitter_kj_per_k: float = 14_000.0
    pump_idle_kw: float = 0.006
    pump_kw_at_30_l_per_min: float = 0.068
    overrun_s: float = 90.0
    """The pump runs on after the compressor; the session lasts until it stops."""
    circulates_in_standby: bool = True
    """The heating pump runs through the pauses of the heating season."""
    frost_guard_below_c: float = 1.0
    """Outdoor temperature below which a standing circuit is turned over for 5 min every half hour."""


@dataclass(frozen=True)
class Building:
    """Three heat capacities (air, mass, emitter) and the people in it."""

    loss_kw_per_k: float = 0.155
    air_kj_per_k: float = 4_500.0
    mass_kj_per_k: float = 38_000.0
    air_to_mass_kw_per_k: float = 1.9
    internal_gain_kw: float = 0.38
    south_window_m2: float = 5.2
    """Effective aperture: area x transmission x what is not shaded."""
    airing_above_c: float = 23.5
    airing_kw_per_k: float = 0.35


@dataclass(frozen=True)
class HeatingControl:
    """Weather compensation, room schedule and the compressor's start and stop."""

    kind: Control = Control.RETURN_HYSTERESIS
    curve_base_c: float = 22.5
    """Flow set-point at 20 °C outdoor."""
    curve_slope: float = 0.38
    curve_hours: float = 3.0
    """Outdoor temperature is smoothed over this time before it enters the curve."""
    flow_maximum_c: float = 55.0
    room_influence: float = 1.5
    """K of flow set-point per K that the room misses."""
    room_schedule: tuple[tuple[float, float], ...] = ((0.0, 20.8),)
    """(local hour from which it holds, room set-point in °C), ascending."""
    room_hysteresis_k: float = 0.3
    """Half-width of the room thermostat."""
    limit_c: float = 15.5
    """Heating season: 24 h mean of the outdoor temperature below this."""
    spread_k: float = 4.0
    return_hysteresis_k: float = 2.0
    flow_below_k: float = 3.0
    """Room thermostat: the compressor starts when the leaving water is this far below its set-point …"""
    flow_above_k: float = 4.0
    """… and stops when it is this far above."""
    silent_from_h: float = 0.0
    silent_to_h: float = 0.0
    """Local hours of the silent mode (none if equal); it caps heating at 85 % of full load."""


@dataclass(frozen=True)
class HotWater:
    """Tank with an upper and a lower node, and what is drawn from it."""

    volume_l: float = 280.0
    setpoint_c: float = 48.0
    hysteresis_k: float = 6.0
    litres_per_day: float = 135.0
    """Drawn on average, counted at 45 °C."""
    loss_kw_per_k: float = 0.0028
    coil_kw_per_k: float = 1.6
    circulation_kw: float = 0.12
    """Loss while the circulation pump runs (10 of 30 min, 6:00-8:30 and 17:00-21:00); 0 = none."""
    cold_c: float = 11.0
    legionella: Legionella = Legionella.BACKUP_HEATER
    legionella_c: float = 61.0
    legionella_weekday: int = 6
    """0 = Monday."""
    legionella_hour: int = 2
    immersion_kw: float = 0.0
    immersion_idle_kw: float = 0.0


@dataclass(frozen=True)
class Parameters:
    """One house of the demo street."""

    name: str
    model: str
    heat_pump: HeatPump
    defrost: Defrost = Defrost()
    hydraulics: Hydraulics = Hydraulics()
    building: Building = Building()
    heating: HeatingControl = HeatingControl()
    hot_water: HotWater = HotWater()
    backup_steps_kw: tuple[float, float] = (2.0, 6.0)
    """Electric backup heater in the flow: first step, first and second step."""
    backup_below_c: float = -4.0
    """Outdoor temperature from which the backup heater may help in heating."""
    backup_after_s: float = 2700.0
    """It helps after so long at full load with the flow still too cold; the second step after as long again."""
    time_zone: str = "Europe/Berlin"


_FLOOR = Hydraulics()
_HELOX = HeatPump(
    full_load_kw=9.4,
    minimum_kw=3.0,
    carnot_efficiency=0.56,
    condenser_approach_k=2.0,
    evaporator_approach_k=9.0,
    evaporator_offset_k=1.5,
    fixed_power_kw=0.06,
    minimum_off_s=900.0,
)

DAIKIN_ALTHERMA: Final = Parameters(
    name="daikin_altherma",
    model="Daikin Altherma EPGA11 / ERLA11",
    heat_pump=HeatPump(
        full_load_kw=9.6,
        minimum_kw=3.2,
        carnot_efficiency=0.52,
        condenser_approach_k=1.5,
        evaporator_approach_k=9.0,
        evaporator_offset_k=1.5,
        fixed_power_kw=0.06,
        minimum_run_s=300.0,
        minimum_off_s=240.0,
        standby_kw=0.014,
    ),
    defrost=Defrost(tank_share=0.45),
    hydraulics=Hydraulics(
        heating_l_per_min=30.0,
        dhw_l_per_min=27.6,
        target_spread_k=5.0,
        return_lag_s=90.0,
        water_to_emitter_kw_per_k=0.9,
        emitter_to_room_kw_per_k=0.42,
        emitter_kj_per_k=900.0,
        overrun_s=60.0,
        circulates_in_standby=False,
    ),
    building=Building(loss_kw_per_k=0.175, air_kj_per_k=5_500.0),
    heating=HeatingControl(
        kind=Control.ROOM_THERMOSTAT,
        curve_base_c=26.0,
        curve_slope=0.62,
        curve_hours=0.5,
        room_schedule=((0.0, 18.0), (5.0, 20.0), (9.0, 19.0), (13.0, 20.0), (17.0, 20.5), (22.0, 18.0)),
        limit_c=16.5,
        silent_from_h=22.0,
        silent_to_h=6.0,
    ),
    hot_water=HotWater(
        volume_l=230.0,
        hysteresis_k=8.0,
        circulation_kw=0.0,
        legionella=Legionella.IMMERSION,
        legionella_hour=13,
        immersion_kw=3.1,
        immersion_idle_kw=0.002,
    ),
)
NOVELAN_HELOX: Final = Parameters(name="novelan_helox", model="Novelan Helox 11", heat_pump=_HELOX)
STIEBEL_HPA: Final = Parameters(
    name="stiebel_hpa",
    model="Stiebel Eltron HPA-O 7 CS Premium",
    heat_pump=HeatPump(
        full_load_kw=7.1,
        minimum_kw=1.9,
        carnot_efficiency=0.51,
        condenser_approach_k=4.1,
        evaporator_approach_k=13.0,
        evaporator_offset_k=0.0,
        fixed_power_kw=0.02,
        minimum_off_s=900.0,
    ),
    hydraulics=replace(_FLOOR, heating_l_per_min=18.0),
    building=Building(loss_kw_per_k=0.125, mass_kj_per_k=30_000.0),
    heating=HeatingControl(return_hysteresis_k=2.5),
)
VIESSMANN_VITOCAL: Final = Parameters(
    name="viessmann_vitocal",
    model="Viessmann Vitocal 250-A 251.A10",
    heat_pump=HeatPump(
        full_load_kw=8.7,
        minimum_kw=2.3,
        carnot_efficiency=0.6,
        condenser_approach_k=1.0,
        evaporator_approach_k=8.0,
        evaporator_offset_k=1.5,
        fixed_power_kw=0.05,
        minimum_off_s=900.0,
    ),
    building=Building(loss_kw_per_k=0.15),
    heating=HeatingControl(kind=Control.DEGREE_MINUTES),
)

PRESETS: Final[dict[str, Parameters]] = {
    preset.name: preset for preset in (DAIKIN_ALTHERMA, NOVELAN_HELOX, STIEBEL_HPA, VIESSMANN_VITOCAL)
}
