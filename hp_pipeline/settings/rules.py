"""The rules by which operation is recognised and by which a figure is shown or withheld."""

from datetime import timedelta
from typing import Annotated

from pydantic import Field

from hp_pipeline.settings.durations import Duration, between
from hp_pipeline.settings.model import Flag, Number, SettingsModel, within


class Rules(SettingsModel):
    """Parameters of modes, sessions, energy and COP. The bounds keep the session rule local: with two hours
    on each side, a day gives the modes that the whole history gives."""

    quarantine: Annotated[Duration, between("0s", "10min")] = Field(
        timedelta(seconds=90),
        description="How far before and after a defrost a change of mode still counts as a part of it.",
    )
    max_defrost: Annotated[Duration, between("1min", "1h")] = Field(
        timedelta(minutes=20), description="A defrost flag that is on for longer is stuck, and is ignored."
    )
    session_gap: Annotated[Duration, between("1min", "2h")] = Field(
        timedelta(minutes=30), description="Without readings for longer, a session ends."
    )
    hold: Annotated[Duration, between("1min", "30min")] = Field(
        timedelta(minutes=5), description="How long a reading is valid when no later one follows."
    )
    min_session: Annotated[Duration, between("0s", "30min")] = Field(
        timedelta(seconds=60), description="A shorter session takes the mode of the one before it."
    )
    minimum_electrical_energy_kwh: Annotated[Number, within(0, 1000, "kWh")] = Field(
        0.05, description="With less electrical energy, kWh, no COP is shown."
    )
    minimum_coverage: Annotated[Number, within(0, 1)] = Field(
        0.5, description="With a smaller share of the time covered by readings, 0 to 1, no COP is shown."
    )
    maximum_coverage_mismatch: Annotated[Number, within(0, 1)] = Field(
        0.05,
        description="When the shares covered for electricity and heat differ by more, 0 to 1, no COP is shown.",
    )
    maximum_unplaced_share: Annotated[Number, within(0, 1)] = Field(
        0.5,
        description="When a silence goes on beyond a day, and a greater share of its energy, 0 to 1, was counted over "
        "silences, no COP is shown.",
    )
    maximum_cop: Annotated[Number, within(5, 100)] = Field(
        20.0, description="More heat than so many times the electricity is a sensor's fault, whatever the temperatures."
    )
    compressor_power_w: Annotated[Number, within(0, 100_000, "W")] = Field(
        150.0,
        description="Electrical power, W, above which the compressor runs, where nothing else tells it.",
    )
    minimum_off: Annotated[Duration, between("0s", "1h")] = Field(
        timedelta(minutes=5), description="A compressor that rests for less before it starts again is noted."
    )
    short_cycling_starts: Annotated[int, within(2, 60)] = Field(
        6, description="So many starts within 60 minutes, on a day of short periods, are short cycling."
    )
    short_cycling_period: Annotated[Duration, between("1min", "2h")] = Field(
        timedelta(minutes=15),
        description="A day's median time from start to start is short up to this; with as many starts, short cycling.",
    )
    short_cycling_days: Annotated[int, within(1, 7)] = Field(
        3, description="So many days of short cycling running are worth an alarm, 1 to 7."
    )
    specific_heat_kj_per_kg_k: Annotated[Number, within(1, 5, "kJ/(kg K)")] = Field(
        4.1868, description="Specific heat of the heating circuit's fluid, kJ/(kg K); water has 4.1868."
    )
    density_kg_per_l: Annotated[Number, within(0.5, 1.5, "kg/l")] = Field(
        1.0, description="Density of the heating circuit's fluid, kg/l; water has 1.0."
    )
    degree_day_limit_c: Annotated[Number, within(5, 25, "°C")] = Field(
        15.0, description="Days with a mean outdoor temperature, °C, below this count as heated (degree days)."
    )
    degree_day_room_c: Annotated[Number, within(10, 30, "°C")] = Field(
        20.0, description="Room temperature, °C, that the degree-day number reckons with."
    )
    reference_flow_temperature_c: Annotated[Number, within(20, 70, "°C")] = Field(
        35.0, description="Flow temperature, °C, at which COPs of different years are compared."
    )
    infer_modes: Flag = Field(
        True,
        description="Infer mode and defrost from flow rate, temperatures and power where nothing has told them for an "
        "hour.",
    )
    defrost_spread_k: Annotated[Number, within(0.3, 10, "K")] = Field(
        1.0,
        description="With the flow colder than the return by more, K, while the compressor runs, it defrosts, where no "
        "flag tells it.",
    )
    dhw_above_setpoint_k: Annotated[Number, within(1, 30, "K")] = Field(
        7.0,
        description="A flow hotter than the set-point of heating by this, K, speaks for hot water, where nothing tells "
        "the mode.",
    )
    dhw_flow_rate_l_per_min: Annotated[Number, within(0, 1000, "l/min")] = Field(
        0.0,
        description="From this flow rate on, l/min, the pump runs for the hot water tank, where no mode is told; 0 "
        "when it does not tell.",
    )
    dhw_flow_rate_hysteresis_l_per_min: Annotated[Number, within(0, 100, "l/min")] = Field(
        0.3, description="So far below that flow rate, l/min, the pump runs for the house again."
    )
    future_tolerance: Annotated[Duration, between("0s", "1d")] = Field(
        timedelta(minutes=5), description="A reading that is further in the future is refused."
    )
