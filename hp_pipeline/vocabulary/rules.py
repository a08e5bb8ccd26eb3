"""The parameters of the rules that turn frames into modes, sessions and figures."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from hp_pipeline.vocabulary.boundaries import UNSTATED, Metering


@dataclass(frozen=True)
class Rules:
    """Every threshold of the session rule and of what may be shown.

    Attributes:
        frame_interval: readings are coarsened to one frame per such interval (and one more at each edge of a state).
        hold: a frame is valid until the next one, at most this long.
        session_gap: a silence longer than this ends a session.
        quarantine: how far a change of the three-way valve may lie outside a defrost and still belong to it.
        max_defrost: a defrost flag that is on for longer is stuck and is not believed.
        min_session: a shorter island of one mode is absorbed by its neighbour.
        minimum_electrical_energy_kwh: below this electricity a COP is not shown.
        minimum_coverage: below this share of time with known electricity and heat a COP is not shown.
        maximum_coverage_mismatch: when the shares for electricity and for heat differ by more, a COP is not shown.
        maximum_unplaced_share: when a silence goes on beyond a row, and more of its electricity or heat than this was
            counted over silences, a COP is not shown: how much of it was used within the row, nobody saw.
        maximum_cop: no heat pump gives more heat than this for its electricity, whatever its temperatures.
        compressor_power_w: electrical power above which the compressor is taken to run, where nothing tells it.
        minimum_off: a compressor that rests for less before it starts again is worn.
        short_cycling_starts, short_cycling_period: so many starts within 60 minutes on a day whose median time from
            start to start is so short are short cycling; either alone is not.
        short_cycling_days: so many such days running are worth an alarm.
        specific_heat_kj_per_kg_k, density_kg_per_l: of the heating water (glycol differs).
        degree_day_limit_c, degree_day_room_c: days whose mean is below the first are heated, up to the second.
        reference_flow_temperature_c: the flow temperature at which COPs of different years are compared.
        infer_modes: whether mode and defrost are inferred where nothing tells them.
        defrost_spread_k: with the flow colder than the return by more than this while the compressor runs, it defrosts,
            where no flag tells it.
        dhw_above_setpoint_k: a flow hotter than the set-point of heating by this speaks for hot water.
        dhw_flow_rate_l_per_min: from this flow rate on the pump runs for the tank; 0 when the rate does not tell.
        dhw_flow_rate_hysteresis_l_per_min: so far below it, it runs for the house again.
        metering: what the meters include, and how far they may be from the truth.
    """

    frame_interval: timedelta = timedelta(seconds=30)
    hold: timedelta = timedelta(minutes=5)
    session_gap: timedelta = timedelta(minutes=30)
    quarantine: timedelta = timedelta(seconds=90)
    max_defrost: timedelta = timedelta(minutes=20)
    min_session: timedelta = timedelta(seconds=60)
    minimum_electrical_energy_kwh: float = 0.05
    minimum_coverage: float = 0.5
    maximum_coverage_mismatch: float = 0.05
    maximum_unplaced_share: float = 0.5
    maximum_cop: float = 20.0
    compressor_power_w: float = 150.0
    minimum_off: timedelta = timedelta(minutes=5)
    short_cycling_starts: int = 6
    short_cycling_period: timedelta = timedelta(minutes=15)
    short_cycling_days: int = 3
    specific_heat_kj_per_kg_k: float = 4.1868
    density_kg_per_l: float = 1.0
    degree_day_limit_c: float = 15.0
    degree_day_room_c: float = 20.0
    reference_flow_temperature_c: float = 35.0
    infer_modes: bool = True
    defrost_spread_k: float = 1.0
    dhw_above_setpoint_k: float = 7.0
    dhw_flow_rate_l_per_min: float = 0.0
    dhw_flow_rate_hysteresis_l_per_min: float = 0.3
    metering: Metering = UNSTATED

    @property
    def provisional_after(self) -> timedelta:
        """How far before the newest reading a mode may still change: a defrost in progress may reach back so far."""
        return self.max_defrost + 2 * self.quarantine


@dataclass(frozen=True)
class SolarRules:
    """What a tank with its heaters is like, and the thresholds of its balance.

    Attributes:
        litres: water in the tank.
        shares: of the water for which each layer stands, from below.
        height_m: from the lowest to the highest sensor; None when unknown.
        cold_water_c: at this temperature the tank holds nothing.
        usable_c: what usable litres are counted in.
        ambient_c: around the tank.
        loss_w_per_k: through its insulation; None when unknown.
        area_m2: of the collector; None when unknown.
        stagnation_c: from here on the collector stagnates.
        immersion_kw: rated power of the immersion heater; None where there is none.
        pellet_kw: rated heat of the stove; None where it tells its own.
        water_share: of the stove's heat, into the tank; None where there is no stove.
        stove_up_to_c: highest layer from which on the stove heats the tank no more; None when always.
        frame_interval: the tank is looked at once in each.
        max_gap: between readings further apart nothing is known.
        dead_band_kwh: a gain or loss counts when it is greater.
    """

    litres: float
    shares: tuple[float, ...]
    height_m: float | None = None
    cold_water_c: float = 10.0
    usable_c: float = 40.0
    ambient_c: float = 20.0
    loss_w_per_k: float | None = None
    area_m2: float | None = None
    stagnation_c: float = 120.0
    immersion_kw: float | None = None
    pellet_kw: float | None = None
    water_share: float | None = None
    stove_up_to_c: float | None = None
    frame_interval: timedelta = timedelta(seconds=30)
    max_gap: timedelta = timedelta(minutes=10)
    dead_band_kwh: float = 0.05
