"""What happens in the house: heat pump, hydraulics, building, tank and controls, step by step.

Compressor control depends on its own past (hysteresis, timers, frost), so the steps run in one scalar loop; it
holds everything in local variables and writes a dozen numbers per step. Driving series before it and derived
series after it are vectorised. One year at 30 s takes about six CPU seconds.

Physics of a step, all powers in kW, temperatures in °C:

* flow node (condenser, heater vessel): C dT_flow/dt = m c (T_return - T_flow) + Q_condenser + Q_backup, solved
  exactly over the step; the *mean* flow temperature is logged, so m c (T_flow - T_return) is exactly the heat that
  left the heat pump in the step;
* emitter or tank coil: heat exchanger with one constant side, T_return = T_x + (T_flow - T_x) exp(-UA / m c),
  behind a first-order return pipe;
* building: air, mass and emitter; tank: an upper and a lower node that mix when they turn upside down;
* frost: grows with the humidity above saturation at the evaporator, is melted by reverse cycle.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from typing import Any, Final
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from hp_pipeline.simulation.parameters import (
    WATER_KJ_PER_KG_K,
    ZERO_CELSIUS_K,
    Control,
    Legionella,
    Parameters,
)
from hp_pipeline.simulation.weather import FloatArray, IntArray, Weather

BoolArray = NDArray[np.bool_]
CodeArray = NDArray[np.int8]

CHUNK_STEPS: Final = 16_384
"""Steps whose driving series are held as Python floats at a time: bounds the memory of a long run."""
LEAST_STANDBY_S: Final = 120.0
"""Once in standby, the controller looks for demand again after this time."""
DRAW_PROFILE: Final = np.array(
    [0.2, 0.1, 0.1, 0.1, 0.3, 1.2, 5, 9, 6, 3.5, 2.5, 2.5, 3.5, 2.5, 2, 2, 2.5, 4, 6.5, 7.5, 6, 4.5, 2.5, 0.8]
)
"""How likely a tap is opened in each local hour (relative)."""
DRAW_KINDS: Final = ((1.2, 14.0, 0.05), (5.0, 7.0, 0.09), (38.0, 2.1, 0.14), (110.0, 0.08, 0.18))
"""Taps: mean litres, times per day, litres per second (hand basin, kitchen, shower, bath)."""
DRAW_SPREAD: Final = 0.35
"""Log-normal spread of the litres of one draw."""


class Operation(IntEnum):
    """Whom the heat is for. A defrost keeps the operation that it interrupts."""

    STANDBY = 0
    HEATING = 1
    DHW = 2


class _Phase(IntEnum):
    """What the refrigerant circuit does."""

    IDLE = 0
    START = 1
    RUN = 2
    DEFROST = 3
    OVERRUN = 4


class _Flag(IntEnum):
    """Bits in which the loop logs its states (the two low bits hold the operation)."""

    VALVE = 4
    DEFROST = 8
    THERMOSTAT = 16
    BACKUP = 32
    LEGIONELLA = 128
    IMMERSION = 256
    FREEZE = 512


@dataclass(frozen=True)
class HeatBalance:
    """Where the heat of the whole run went, in kWh: two sides of each equation, for the closure tests."""

    condenser: float
    """Heat of the refrigerant to the water, net of what defrosts took."""
    backup: float
    hydraulic: float
    """Flow rate times spread, what a heat meter without error counts (net)."""
    flow_node_stored: float
    """What the flow node holds at the end more than at the start."""
    flow_node_lost: float
    """What it gave to the room while the pump stood."""
    tank_charged: float
    tank_immersion: float
    tank_drawn: float
    tank_lost: float
    tank_stored: float


@dataclass(frozen=True)
class HouseState:
    """Everything that a house is at one moment: a run that begins with the state in which another one ended goes on
    as if there had been no end. Temperatures in °C, times in s, heat in kW; numbers and flags only, so that JSON
    keeps it to the last bit."""

    air: float
    mass: float
    emitter: float
    flow: float
    back: float
    upper: float
    lower: float
    smooth: float
    """Outdoor temperature smoothed for the heating curve."""
    day_mean: float
    operation: int
    phase: int
    phase_s: float
    since_stop: float
    since_start: float
    since_defrost: float
    heat: float
    frost: float
    degree_minutes: float
    stage: int
    lead_s: float
    tank_defrost: bool
    valve_late: bool
    valve_back: bool
    season: bool
    room_calls: bool
    tank_calls: bool
    legionella: bool
    legionella_done: bool
    immersion: bool
    backup: int
    backup_s: float
    pump_s: float
    guard_s: float
    level: int
    level_run: int
    defrosts: int = 0
    """Defrosts so far, each of which had draws of chance of its own."""
    stopped_s: float = 0.0
    """How long the compressor has stood."""


@dataclass(frozen=True)
class Trajectory:
    """One run of the house: arrays of equal length, one element per step of `step_s` seconds.

    A value holds for its whole step: temperatures that carry heat are means over the step, powers too.
    """

    parameters: Parameters
    seed: int
    start_s: int
    step_s: int
    operation: CodeArray
    """`Operation`: whom the heat is for."""
    valve_dhw: BoolArray
    """Three-way valve to the tank, also during a defrost that takes its heat from the tank."""
    defrost: BoolArray
    """The controller's defrost flag."""
    thermostat: BoolArray
    """The controller wants the compressor."""
    backup_step: CodeArray
    legionella: BoolArray
    freeze_protection: BoolArray
    silent: BoolArray
    compressor_hz: FloatArray
    frost: FloatArray
    flow_temperature_c: FloatArray
    return_temperature_c: FloatArray
    flow_rate_l_per_min: FloatArray
    outdoor_temperature_c: FloatArray
    room_temperature_c: FloatArray
    room_setpoint_c: FloatArray
    flow_setpoint_c: FloatArray
    dhw_upper_c: FloatArray
    dhw_lower_c: FloatArray
    dhw_setpoint_c: FloatArray
    heat_kw: FloatArray
    """Net hydraulic heat: negative while a defrost takes heat."""
    condenser_kw: FloatArray
    compressor_kw: FloatArray
    auxiliary_kw: FloatArray
    """Standby, pump, fan and crankcase heater."""
    backup_kw: FloatArray
    immersion_kw: FloatArray
    """On a meter of its own, not part of `electrical_kw`."""
    balance: HeatBalance
    end: HouseState
    """What the house was after the last step."""

    @property
    def steps(self) -> int:
        """Number of steps."""
        return len(self.operation)

    @property
    def unix_s(self) -> IntArray:
        """Begin of every step in unix seconds."""
        return self.start_s + np.arange(self.steps, dtype=np.int64) * self.step_s

    @property
    def electrical_kw(self) -> FloatArray:
        """What the heat pump's meter sees: compressor, auxiliaries and backup heater."""
        return self.compressor_kw + self.auxiliary_kw + self.backup_kw


def local_seconds(unix_s: IntArray, time_zone: str) -> IntArray:
    """Wall-clock seconds since 1970 of the zone: summer time included, monotonic except where the clock goes back."""
    zone = ZoneInfo(time_zone)
    quarter = 900
    nodes = np.arange(unix_s[0] // quarter, unix_s[-1] // quarter + 1)
    offsets = np.empty(len(nodes), dtype=np.int64)
    previous, end = 0, 0
    for i, node in enumerate((nodes * quarter).tolist()):
        # Offsets change on a quarter of an hour; asking once a day and at the day of a change is enough.
        if node >= end:
            previous = _offset_s(zone, node)
            end = node + 86_400 if _offset_s(zone, node + 86_400) == previous else node + quarter
        offsets[i] = previous
    shifted: IntArray = unix_s + offsets[unix_s // quarter - nodes[0]]
    return shifted


def _offset_s(zone: ZoneInfo, unix_s: int) -> int:
    offset = datetime.fromtimestamp(unix_s, zone).utcoffset()
    return int(offset.total_seconds()) if offset else 0


def hot_water_draws(weather: Weather, litres_per_day: float, time_zone: str, seed: int) -> FloatArray:
    """Litres drawn in each step, counted at 45 °C: Poisson taps on a daily profile in local time.

    Drawn per UTC day from (seed, day), so that a day's draws do not depend on the window.
    """
    share = DRAW_PROFILE / DRAW_PROFILE.sum()
    expected = sum(litres * times for litres, times, _ in DRAW_KINDS) * math.exp(DRAW_SPREAD**2 / 2)
    scale = litres_per_day / expected
    zone = ZoneInfo(time_zone)
    starts: list[FloatArray] = []
    durations: list[FloatArray] = []
    rates: list[FloatArray] = []
    edges = weather.start_s + np.arange(weather.steps + 1, dtype=np.float64) * weather.step_s
    for day in range(weather.start_s // 86_400 - 1, int(edges[-1]) // 86_400 + 2):
        rng = np.random.default_rng((seed, 101, day))
        midnight = day * 86_400
        offset = datetime.fromtimestamp(midnight + 43_200, UTC).astimezone(zone).utcoffset()
        shift = offset.total_seconds() if offset else 0.0
        for litres, times, rate in DRAW_KINDS:
            count = int(rng.poisson(times))
            hour = rng.choice(24, size=count, p=share) + rng.random(count)
            volume = scale * litres * rng.lognormal(0.0, DRAW_SPREAD, count)
            starts.append(midnight + hour * 3600 - shift)
            durations.append(volume / rate)
            rates.append(np.full(count, rate))
    begin, length, rate_l_per_s = np.concatenate(starts), np.concatenate(durations), np.concatenate(rates)
    # Volume drawn until a moment is piecewise linear between the openings and closings of taps.
    moments = np.concatenate((begin, begin + length))
    order = np.argsort(moments, kind="stable")
    moments = moments[order]
    open_rate = np.cumsum(np.concatenate((rate_l_per_s, -rate_l_per_s))[order])
    volume_until = np.concatenate(((0.0,), np.cumsum(open_rate[:-1] * np.diff(moments))))
    return np.diff(np.interp(edges, moments, volume_until))


def _room_setpoints(schedule: tuple[tuple[float, float], ...], local_hour: FloatArray) -> FloatArray:
    """Room set-point of each step; before the first entry of a day the last one holds."""
    hours = np.array([hour for hour, _ in schedule])
    temperatures = np.array([temperature for _, temperature in schedule])
    return temperatures[np.searchsorted(hours, local_hour, side="right") - 1]


def _within(local_hour: FloatArray, start: float, stop: float) -> BoolArray:
    """Whether the local hour lies in [start, stop), which may pass midnight."""
    if start <= stop:
        return (local_hour >= start) & (local_hour < stop)
    return (local_hour >= start) | (local_hour < stop)


def simulate(
    parameters: Parameters,
    weather: Weather,
    seed: int = 7,
    *,
    settling: timedelta = timedelta(0),
    begin: HouseState | None = None,
) -> Trajectory:
    """Runs the house through the weather.

    The step of the weather is the step of the run (10 s for accuracy tests, 30 s for demo data, at most 60 s).
    Deterministic for (parameters, weather, seed, begin). The house starts in the evening state of a heated day, or
    with `begin`, the end of an earlier run: two runs one after the other are one run. What happens in the first
    `settling` of the weather is simulated but left out of the trajectory (not of its balance).
    """
    p, dt = parameters, float(weather.step_s)
    hp, df, hy, bu, hc, hw = p.heat_pump, p.defrost, p.hydraulics, p.building, p.heating, p.hot_water

    # -- driving series
    local_s = local_seconds(weather.unix_s, p.time_zone)
    local_hour = (local_s % 86_400) / 3600
    weekday = (local_s // 86_400 + 3) % 7
    occupied = (local_hour > 6) & (local_hour < 22)
    gains_kw = (
        bu.internal_gain_kw * (0.75 + 0.5 * occupied)
        + bu.south_window_m2 * weather.south_irradiance_w_per_m2 / 1000 * 0.7
    )
    circulating = (_within(local_hour, 6, 8.5) | _within(local_hour, 17, 21)) & (local_s % 1800 < 600)
    legionella_time = (weekday == hw.legionella_weekday) & _within(
        local_hour, hw.legionella_hour, hw.legionella_hour + 3
    )
    silent = _within(local_hour, hc.silent_from_h, hc.silent_to_h)
    room_setpoints = _room_setpoints(hc.room_schedule, local_hour)
    driving = (
        weather.outdoor_temperature_c,
        weather.humidity_ratio_kg_per_kg,
        hot_water_draws(weather, hw.litres_per_day, p.time_zone, seed),
        gains_kw,
        room_setpoints,
        circulating,
        legionella_time,
        silent,
    )

    def rows() -> Iterator[tuple[float, float, float, float, float, bool, bool, bool]]:
        for first in range(0, weather.steps, CHUNK_STEPS):
            yield from zip(*(series[first : first + CHUNK_STEPS].tolist() for series in driving), strict=True)

    # -- everything that does not change, as local names
    exp = math.exp
    cp = WATER_KJ_PER_KG_K
    full, minimum, eta = hp.full_load_kw, hp.minimum_kw, hp.carnot_efficiency
    approach_c, approach_e, offset_e, fixed_kw = (
        hp.condenser_approach_k,
        hp.evaporator_approach_k,
        hp.evaporator_offset_k,
        hp.fixed_power_kw,
    )
    cap_out, cap_flow, min_out = hp.capacity_per_k_outdoor, hp.capacity_per_k_flow, hp.minimum_per_k_outdoor
    flow_limit, soft_start, ramp = hp.flow_limit_c, hp.soft_start_s, full / hp.ramp_s * dt
    min_run, min_off, start_delay = hp.minimum_run_s, hp.minimum_off_s, hp.start_delay_s
    first_kw = 0.6 * minimum
    # Leaving-water control: 0.024 % of full load per kelvin of deviation and second.
    gain = 0.00024 * full * dt

    level_l = hy.pump_step_l_per_min
    level_heating = round(hy.heating_l_per_min / level_l)
    level_dhw = round(hy.dhw_l_per_min / level_l)
    level_defrost = round(hy.defrost_l_per_min / level_l)
    level_lowest = round(hy.lowest_l_per_min / level_l)
    levels = range(max(level_heating, level_dhw, level_defrost) + 1)
    # Per pump level: m c in kW/K, decay and mean factor of the flow node, what a circuit leaves of the spread.
    mcp_of = [level * level_l / 60 * cp for level in levels]
    decay_of = [1.0] + [exp(-dt * m / hp.condenser_kj_per_k) for m in mcp_of[1:]]
    mean_of = [1.0] + [
        (1 - d) * hp.condenser_kj_per_k / (m * dt) for m, d in zip(mcp_of[1:], decay_of[1:], strict=True)
    ]
    left_heating_of = [1.0] + [exp(-hy.water_to_emitter_kw_per_k / m) for m in mcp_of[1:]]
    left_coil_of = [1.0] + [exp(-hw.coil_kw_per_k / m) for m in mcp_of[1:]]
    return_decay = exp(-dt / hy.return_lag_s)
    idle_decay = exp(-dt / 7200.0)
    c_node = hp.condenser_kj_per_k
    spread_high, spread_low = hy.target_spread_k + 0.5, hy.target_spread_k - 0.5
    modulating_pump = hy.target_spread_k > 0
    overrun, standing_pump = hy.overrun_s, hy.circulates_in_standby
    frost_guard = hy.frost_guard_below_c

    ua, c_air, c_mass, c_emitter = bu.loss_kw_per_k, bu.air_kj_per_k, bu.mass_kj_per_k, hy.emitter_kj_per_k
    ua_mass, ua_emitter = bu.air_to_mass_kw_per_k, hy.emitter_to_room_kw_per_k
    airing_above, airing = bu.airing_above_c, bu.airing_kw_per_k

    c_upper, c_lower = hw.volume_l * 0.45 * cp, hw.volume_l * 0.55 * cp
    loss_upper, loss_lower, tank_conduction = hw.loss_kw_per_k * 0.45, hw.loss_kw_per_k * 0.55, 0.0025
    dhw_set, dhw_hysteresis, cold, circulation = (
        hw.setpoint_c,
        hw.hysteresis_k,
        hw.cold_c,
        hw.circulation_kw,
    )
    by_immersion = hw.legionella is Legionella.IMMERSION
    legionella_c, immersion_on_kw = hw.legionella_c, hw.immersion_kw

    room_controlled = hc.kind is Control.ROOM_THERMOSTAT
    by_return = hc.kind is Control.RETURN_HYSTERESIS
    curve_base, curve_slope, curve_top, influence = (
        hc.curve_base_c,
        hc.curve_slope,
        hc.flow_maximum_c,
        hc.room_influence,
    )
    smooth_curve, smooth_day = dt / (hc.curve_hours * 3600), dt / 86_400
    limit, room_half = hc.limit_c, hc.room_hysteresis_k
    spread, return_half = hc.spread_k, hc.return_hysteresis_k
    below, above = hc.flow_below_k, hc.flow_above_k

    frost_rate, least_frost_run, melt_kj = df.frost_rate, df.least_run_s, df.melt_kwh * 3600
    taken_kw, reverse_kw = df.heat_taken_kw, df.power_kw
    slow_down, drip, restart = df.slow_down_s, df.drip_s, df.restart_s
    tank_from, guard_flow = df.tank_from_c, df.guard_flow_c
    backup_kw_of = (0.0, p.backup_steps_kw[0], p.backup_steps_kw[1])
    backup_below, backup_after = p.backup_below_c, p.backup_after_s
    # One row of draws per possible defrost: tank?, lead of the valve, its return.
    defrosts = begin.defrosts if begin else 0
    draws = defrosts + weather.steps * weather.step_s // 1500 + 16
    chances = np.random.default_rng((seed, 202)).random((draws, 3)).tolist()

    # -- states
    air = mass = room_setpoints[0] - 0.2
    emitter, flow, back, upper, lower = 24.0, 25.0, 24.0, 47.0, 40.0
    smooth = day_mean = float(weather.outdoor_temperature_c[: max(1, int(86_400 / dt))].mean())
    operation, phase, phase_s, since_stop, since_start, since_defrost = 0, 0, 0.0, 1e4, 0.0, 1e4
    heat, frost, degree_minutes = 0.0, 0.0, 0.0
    stage, lead_s, tank_defrost, valve_late, valve_back = 0, -1.0, False, False, True
    season, room_calls, tank_calls = day_mean < limit, False, False
    legionella, legionella_done, immersion = False, False, False
    backup, backup_s, pump_s, guard_s = 0, 0.0, 0.0, 0.0
    level = level_run = level_heating
    if begin is not None:
        air, mass, emitter, flow, back = begin.air, begin.mass, begin.emitter, begin.flow, begin.back
        upper, lower, smooth, day_mean = begin.upper, begin.lower, begin.smooth, begin.day_mean
        operation, phase, phase_s = begin.operation, begin.phase, begin.phase_s
        since_stop, since_start, since_defrost = begin.since_stop, begin.since_start, begin.since_defrost
        heat, frost, degree_minutes = begin.heat, begin.frost, begin.degree_minutes
        stage, lead_s = begin.stage, begin.lead_s
        tank_defrost, valve_late, valve_back = begin.tank_defrost, begin.valve_late, begin.valve_back
        season, room_calls, tank_calls = begin.season, begin.room_calls, begin.tank_calls
        legionella, legionella_done, immersion = begin.legionella, begin.legionella_done, begin.immersion
        backup, backup_s, pump_s, guard_s = begin.backup, begin.backup_s, begin.pump_s, begin.guard_s
        level, level_run = begin.level, begin.level_run
    q_condenser = q_backup = q_hydraulic = node_lost = 0.0
    q_tank = q_immersion = q_drawn = q_lost = 0.0
    node_start, tank_start = flow, c_upper * upper + c_lower * lower
    out = array("f")
    log = out.extend

    for outdoor, humidity, draw, gain_kw, room_set, pumps_round, legionella_hours, quiet in rows():
        # -- demand
        smooth += (outdoor - smooth) * smooth_curve
        day_mean += (outdoor - day_mean) * smooth_day
        if season:
            if day_mean > limit + 0.7:
                season = False
        elif day_mean < limit - 0.7:
            season = True
        setpoint = curve_base + curve_slope * (20.0 - smooth) + influence * (room_set - air)
        if setpoint < 20.0:
            setpoint = 20.0
        elif setpoint > curve_top:
            setpoint = curve_top
        if room_controlled:
            if room_calls:
                if air > room_set + room_half or not season:
                    room_calls = False
            elif season and air < room_set - room_half:
                room_calls = True
        if legionella_hours:
            if not legionella_done:
                legionella = legionella_done = True
                if upper < dhw_set or not by_immersion:
                    tank_calls = True
        elif legionella_done and not legionella:
            legionella_done = False
        if not tank_calls and (upper < dhw_set - dhw_hysteresis or lower < dhw_set - dhw_hysteresis - 9.0):
            tank_calls = True
        if by_immersion:
            if legionella and not tank_calls:
                immersion = True
            if immersion and upper >= legionella_c:
                immersion = legionella = False

        # -- states of the refrigerant circuit; `condenser` and `power` are what it does in this step
        phase_s += dt
        since_defrost += dt
        condenser = power = speed = fan_less = 0.0
        flag_defrost = False
        if phase == 2:
            since_start += dt
            ending = False
            if frost >= 1.0 and since_start > least_frost_run and lead_s < 0.0:
                draw_tank, draw_lead, draw_back = chances[defrosts]
                defrosts += 1
                tank_defrost = operation == 1 and draw_tank < df.tank_share and lower >= tank_from
                lead_s = draw_lead * df.tank_lead_s if tank_defrost else 0.0
                valve_late = draw_back > 0.7
                valve_back = False
            if lead_s >= 0.0:
                lead_s -= dt
                if lead_s < dt * 0.5 or not tank_defrost:
                    phase, phase_s, stage, lead_s = 3, 0.0, 0, -1.0
            elif operation == 1:
                if tank_calls and since_start > min_run and frost < 0.95:
                    operation = 2
                elif since_start > min_run:
                    if room_controlled:
                        ending = not room_calls or (flow > setpoint + above and heat < minimum * 1.05)
                    elif not season or air > room_set + 2.0:
                        ending = True
                    elif by_return:
                        ending = back > setpoint - spread + return_half
                    else:
                        degree_minutes += (flow - setpoint) * dt / 60.0
                        ending = (degree_minutes >= 0.0 and flow > setpoint + 2.0) or flow > setpoint + 6.0
            else:
                target = legionella_c if legionella and not by_immersion else dhw_set
                reached = upper >= target and (lower >= target - 5.0 or legionella)
                if reached or flow > flow_limit + 3.0:
                    tank_calls = False
                    if legionella and not by_immersion:
                        legionella = False
                    if room_calls or (not room_controlled and season and back < setpoint + return_half):
                        operation = 1
                    else:
                        ending = True
            if ending:
                heat = degree_minutes = 0.0
                backup, backup_s, since_stop = 0, 0.0, 0.0
                keeps_operation = room_controlled and room_calls and operation == 1
                phase, phase_s = (0 if keeps_operation else 4), 0.0
        elif phase == 0:
            since_stop += dt
            if operation == 1 and not room_calls:
                phase, phase_s = 4, 0.0
            elif room_calls and operation == 0 and not tank_calls and phase_s >= LEAST_STANDBY_S:
                operation, pump_s = 1, 0.0
                level_run = level_heating
            if since_stop >= min_off:
                starts = False
                if tank_calls and (operation == 1 or phase_s >= LEAST_STANDBY_S):
                    operation, starts = 2, True
                elif room_controlled:
                    starts = operation == 1 and phase == 0 and flow < setpoint - below
                elif season and air < room_set + 1.6:
                    if by_return:
                        starts = back < setpoint - spread - return_half
                    else:
                        degree_minutes += (flow - setpoint) * dt / 60.0
                        degree_minutes = min(degree_minutes, 0.0)
                        starts = degree_minutes < -60.0
                    if starts:
                        operation = 1
                        degree_minutes = max(degree_minutes, -60.0)
                if starts:
                    phase, phase_s = 1, 0.0
        elif phase == 1:
            if phase_s > start_delay:
                phase, phase_s, since_start, heat = 2, 0.0, 0.0, first_kw
        elif phase == 4:
            since_stop += dt
            if phase_s > overrun:
                phase, phase_s, operation = 0, 0.0, (1 if room_calls else 0)
        if phase == 3:
            flag_defrost = True
            if stage == 0 and phase_s >= slow_down:
                stage = 1
            elif stage == 1 and frost <= 0.0:
                stage, frost, phase_s = 2, 0.0, 0.0
            elif stage == 2 and phase_s >= drip:
                stage, phase_s, heat = 3, 0.0, first_kw
                valve_back = not valve_late
            elif stage == 3 and phase_s >= restart:
                phase, phase_s, since_start, since_defrost = 2, 0.0, 0.0, 0.0
                stage, backup, valve_back, tank_defrost, flag_defrost = 0, 0, True, False, False
            if phase == 3:
                if stage == 0:
                    condenser, power, speed = first_kw, reverse_kw * 0.7, 0.3
                elif stage == 1:
                    condenser, power, speed, fan_less = -taken_kw, reverse_kw, 0.55, 1.0
                    frost -= (taken_kw + 0.8 * reverse_kw) * dt / melt_kj
                    if flow < guard_flow:
                        backup = 1
                elif stage == 3:
                    backup = 0
                    condenser, power, speed = first_kw, reverse_kw, 0.3
        if phase == 2:
            capacity = (
                full
                * (1.0 + cap_out * ((outdoor if outdoor < 12.0 else 12.0) + 7.0))
                * (1.0 - cap_flow * (flow - 35.0))
                * (1.0 - 0.16 * frost * frost)
            )
            lowest = minimum * (1.0 + min_out * (outdoor - 7.0))
            if operation == 1:
                if quiet:
                    capacity *= 0.85
                wanted = heat + (setpoint - flow) * gain
            else:
                wanted = capacity * 0.8
                if legionella and not by_immersion and flow > flow_limit - 4.0:
                    backup = 2
            if wanted > capacity:
                wanted = capacity
            elif wanted < lowest:
                wanted = lowest
            if since_start < soft_start:
                wanted = min(wanted, lowest) * (0.35 + 0.65 * since_start / soft_start)
            change = wanted - heat
            heat += ramp if change > ramp else (-ramp if change < -ramp else change)
            if flow > flow_limit and operation == 2 and heat > lowest:
                heat = lowest
            share = heat / full
            evaporating = outdoor - offset_e - approach_e * share
            condensing = flow + approach_c * share + ZERO_CELSIUS_K
            lift = condensing - evaporating - ZERO_CELSIUS_K
            lift = max(lift, 12.0)
            condenser = heat
            power = fixed_kw + heat * lift / (eta * condensing) * (1.0 + 0.13 * frost)
            speed = (heat - lowest) / (capacity - lowest + 0.01)
            speed = max(speed, -0.2)
            speed += 1e-3
            if evaporating < 0.0 and outdoor < 8.0:
                # Humidity ratio of saturated air over ice, exponential fit between -20 and 0 °C.
                over = humidity - 3.79e-3 * exp(0.0751 * evaporating)
                if over > 0.0:
                    frost += frost_rate * over * dt * 0.6 * share**0.5
            if operation == 1:
                if outdoor < backup_below and heat >= capacity * 0.97 and flow < setpoint - 3.0:
                    backup_s += dt
                    if backup_s > backup_after:
                        backup = 2 if backup_s > 2 * backup_after else 1
                elif flow > setpoint - 0.5:
                    backup, backup_s = 0, 0.0
            elif not legionella:
                backup = 0

        # -- pump and three-way valve
        guard = False
        if phase == 3 or (lead_s >= 0.0 and tank_defrost):
            level = level_defrost
        elif operation == 2:
            level = level_dhw
        elif operation == 1:
            if modulating_pump and phase == 2:
                pump_s += dt
                if pump_s >= 60.0:
                    pump_s = 0.0
                    if flow - back > spread_high:
                        if level_run < level_heating:
                            level_run += 1
                    elif flow - back < spread_low and level_run > level_lowest:
                        level_run -= 1
            level = level_run
        elif standing_pump and season:
            level = level_heating
        else:
            level = 0
            if outdoor < frost_guard:
                guard_s += dt
                if guard_s >= 1800.0:
                    guard_s = 0.0
                if guard_s < 300.0:
                    level, guard = level_lowest, True
        valve = operation == 2 or (tank_defrost and not valve_back)

        # -- flow node, circuit, return pipe
        backup_kw = backup_kw_of[backup]
        mean_flow, return_now = flow, back
        if level:
            mcp = mcp_of[level]
            steady = back + (condenser + backup_kw) / mcp
            gap = flow - steady
            mean_flow = steady + gap * mean_of[level]
            flow = steady + gap * decay_of[level]
            q = mcp * (mean_flow - back)
            q_hydraulic += q
            if valve:
                new_back = lower + (mean_flow - lower) * left_coil_of[level]
                lower += q * dt / c_lower
                q_tank += q
                q_emitter = 0.0
            else:
                new_back = emitter + (mean_flow - emitter) * left_heating_of[level]
                q_emitter = q
            back = new_back + (back - new_back) * return_decay
        else:
            q_emitter = 0.0
            flow = air + (flow - air) * idle_decay
            node_lost += mean_flow - flow
            back = air + (back - air) * idle_decay
        q_condenser += condenser
        q_backup += backup_kw

        # -- tank
        if draw:
            drawn = draw * cp
            if upper > 45.0:
                drawn *= (45.0 - cold) / (upper - cold)
            q_drawn += drawn * (upper - cold)
            upper, lower = upper - drawn * (upper - lower) / c_upper, lower - drawn * (lower - cold) / c_lower
        lost_upper = loss_upper * (upper - 20.0) + (circulation if pumps_round else 0.0)
        lost_lower = loss_lower * (lower - 20.0)
        down = tank_conduction * (upper - lower)
        q_lost += lost_upper + lost_lower
        if immersion:
            upper += immersion_on_kw * dt / c_upper
            q_immersion += immersion_on_kw
        upper -= (lost_upper + down) * dt / c_upper
        lower += (down - lost_lower) * dt / c_lower
        if lower > upper:
            upper = lower = (lower * c_lower + upper * c_upper) / (c_lower + c_upper)

        # -- building
        q_room = ua_emitter * (emitter - air)
        q_mass = ua_mass * (air - mass)
        outside = ua if air < airing_above or outdoor > air else ua + airing
        emitter += (q_emitter - q_room) * dt / c_emitter
        air += (q_room + (gain_kw if air < 24.0 else gain_kw * 0.45) - q_mass - outside * (air - outdoor)) * dt / c_air
        mass += q_mass * dt / c_mass

        log(
            (
                operation
                + (4 if valve else 0)
                + (8 if flag_defrost else 0)
                + (16 if 0 < phase < 4 else 0)
                + 32 * backup
                + (128 if legionella else 0)
                + (256 if immersion else 0)
                + (512 if guard else 0),
                level,
                mean_flow,
                return_now,
                air,
                upper,
                lower,
                power,
                condenser,
                speed,
                fan_less,
                frost,
                setpoint,
            )
        )

    columns = np.frombuffer(out, dtype=np.float32).reshape(-1, 13).T
    hours = dt / 3600
    balance = HeatBalance(
        condenser=q_condenser * hours,
        backup=q_backup * hours,
        hydraulic=q_hydraulic * hours,
        flow_node_stored=c_node * (flow - node_start) / 3600,
        flow_node_lost=c_node * node_lost / 3600,
        tank_charged=q_tank * hours,
        tank_immersion=q_immersion * hours,
        tank_drawn=q_drawn / 3600,
        tank_lost=q_lost * hours,
        tank_stored=(c_upper * upper + c_lower * lower - tank_start) / 3600,
    )
    end = HouseState(
        air=air,
        mass=mass,
        emitter=emitter,
        flow=flow,
        back=back,
        upper=upper,
        lower=lower,
        smooth=smooth,
        day_mean=day_mean,
        operation=operation,
        phase=phase,
        phase_s=phase_s,
        since_stop=since_stop,
        since_start=since_start,
        since_defrost=since_defrost,
        heat=heat,
        frost=frost,
        degree_minutes=degree_minutes,
        stage=stage,
        lead_s=lead_s,
        tank_defrost=tank_defrost,
        valve_late=valve_late,
        valve_back=valve_back,
        season=season,
        room_calls=room_calls,
        tank_calls=tank_calls,
        legionella=legionella,
        legionella_done=legionella_done,
        immersion=immersion,
        backup=backup,
        backup_s=backup_s,
        pump_s=pump_s,
        guard_s=guard_s,
        level=level,
        level_run=level_run,
        defrosts=defrosts,
    )
    run = _trajectory(
        p,
        weather,
        seed,
        columns=columns,
        room_setpoints=room_setpoints,
        silent=silent,
        balance=balance,
        stopped_s=begin.stopped_s if begin else 0.0,
        end=end,
    )
    return _from_step(run, round(settling.total_seconds() / dt))


def _trajectory(
    p: Parameters,
    weather: Weather,
    seed: int,
    *,
    columns: NDArray[np.float32],
    room_setpoints: FloatArray,
    silent: BoolArray,
    balance: HeatBalance,
    stopped_s: float,
    end: HouseState,
) -> Trajectory:
    """Unpacks what the loop logged and adds what follows from it."""
    hp, hy, hw = p.heat_pump, p.hydraulics, p.hot_water
    codes = columns[0].astype(np.int16)
    wide = columns[1:].astype(np.float64)
    level, flow, back, air, upper, lower, power, condenser, speed, fan_less, frost, setpoint = wide
    flow_rate = level * hy.pump_step_l_per_min
    operation = (codes & 3).astype(np.int8)
    runs = power > 0
    backup_step = ((codes >> 5) & 3).astype(np.int8)
    immersion = (codes & _Flag.IMMERSION) > 0

    index = np.arange(len(codes))
    last_run = np.maximum.accumulate(np.where(runs, index, -1))
    before = round(stopped_s / weather.step_s)
    off_s = np.where(last_run < 0, index + before if before else 0, index - last_run) * weather.step_s
    crankcase = (weather.outdoor_temperature_c < 10.0) & (off_s > 3600)
    # Affinity law: a wet-rotor pump's power grows with the cube of its flow rate, on top of its electronics.
    pump = np.where(
        level > 0,
        hy.pump_idle_kw + (hy.pump_kw_at_30_l_per_min - hy.pump_idle_kw) * (flow_rate / 30.0) ** 3,
        0.0,
    )
    blows = runs & (fan_less == 0)
    fan = np.where(blows, hp.fan_kw * (0.35 + 0.65 * np.clip(condenser / hp.full_load_kw, 0, 1.2)), 0.0)
    hertz = np.where(runs, hp.minimum_hz + np.clip(speed, -0.2, 1.0) * (hp.maximum_hz - hp.minimum_hz), 0.0)

    return Trajectory(
        parameters=p,
        seed=seed,
        start_s=weather.start_s,
        step_s=weather.step_s,
        operation=operation,
        valve_dhw=(codes & _Flag.VALVE) > 0,
        defrost=(codes & _Flag.DEFROST) > 0,
        thermostat=(codes & _Flag.THERMOSTAT) > 0,
        backup_step=backup_step,
        legionella=(codes & _Flag.LEGIONELLA) > 0,
        freeze_protection=(codes & _Flag.FREEZE) > 0,
        silent=silent,
        compressor_hz=hertz,
        frost=frost,
        flow_temperature_c=flow,
        return_temperature_c=back,
        flow_rate_l_per_min=flow_rate,
        outdoor_temperature_c=weather.outdoor_temperature_c,
        room_temperature_c=air,
        room_setpoint_c=room_setpoints,
        flow_setpoint_c=setpoint,
        dhw_upper_c=upper,
        dhw_lower_c=lower,
        dhw_setpoint_c=np.full(len(codes), hw.setpoint_c),
        heat_kw=flow_rate / 60 * WATER_KJ_PER_KG_K * (flow - back),
        condenser_kw=condenser,
        compressor_kw=power,
        auxiliary_kw=hp.standby_kw + pump + fan + np.where(crankcase, hp.crankcase_kw, 0.0),
        backup_kw=np.array((0.0, *p.backup_steps_kw))[backup_step],
        immersion_kw=np.where(immersion, hw.immersion_kw, hw.immersion_idle_kw),
        balance=balance,
        end=replace(end, stopped_s=float(off_s[-1] + weather.step_s) if off_s[-1] else 0.0),
    )


def _from_step(run: Trajectory, first: int) -> Trajectory:
    """The run from step `first` on."""
    series: dict[str, Any] = {
        field.name: value[first:] for field in fields(run) if isinstance(value := getattr(run, field.name), np.ndarray)
    }
    return replace(run, start_s=run.start_s + first * run.step_s, **series)
