"""What the figures mean that people read: formula, boundary, method, and when there is none. Said by families.

A formula is an SQL expression over the columns of the same row, and a test computes it on a house's tables: it holds
for every row whose figure is not null. So the page `docs/figures.md`, which is made from here and from the tables,
cannot say another formula than the code computes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from hp_pipeline.vocabulary.signals import summary_signals
from hp_pipeline.vocabulary.tables.table import Column, Table

GROUPS: Final = {
    "energies": "Energies",
    "cop": "COP and JAZ",
    "coverage": "Coverage and uncertainty",
    "time": "Time and temperatures",
    "costs": "Cost and CO2",
    "outlook": "The year before, and what the running year comes to",
    "filled": "Days with what nobody measured filled in",
    "events": "Cycling and defrosts",
    "house": "Efficiency and the house's need of heat",
    "solar": "Solar heating",
}


@dataclass(frozen=True)
class Meaning:
    """What a family of columns means.

    Attributes:
        columns: regular expression that a column's whole name matches; its groups stand as {0}, {1}, … in the texts,
            a group that matched nothing as nothing.
        tables: regular expression that the whole name of a table matches.
        group: one of `GROUPS`.
        formula: SQL over the columns of the row; None where a figure does not follow from its row.
        method: how it is found, where the column's description does not say it.
        boundary: what is in it and what is not.
        null_when: when there is none; None: never null.
        is_listed_once: whether the family is one line of the page: the same is said of each of its columns.
    """

    columns: str
    tables: str
    group: str
    formula: str | None = None
    method: str | None = None
    boundary: str | None = None
    null_when: str | None = None
    is_listed_once: bool = False

    def of(self, column: Column, table: Table) -> Meaning | None:
        """The meaning of a column of this family, with the groups filled in; None for another column."""
        if not re.fullmatch(self.tables, table.name):
            return None
        found = re.fullmatch(self.columns, column.name)
        if found is None:
            return None
        parts = [part or "" for part in found.groups()]

        def filled(text: str | None) -> str | None:
            return text and re.sub(r"\{(\d)\}", lambda place: parts[int(place[1])], text)

        return replace(
            self,
            formula=filled(self.formula),
            method=filled(self.method),
            boundary=filled(self.boundary),
            null_when=filled(self.null_when),
        )


_SIGNALS = "|".join(summary_signals())
_FIGURES = "sessions|cycles|defrosts|hourly|daily|weekly|monthly|seasonal|yearly|all_time"
_COSTS = "costs_.*"
_SOLAR = "solar_(hourly|daily|monthly|yearly)"
_HOUSE = "house_.*"
_DEFROSTS = "defrost_(monthly|seasonal)"
_EFFICIENCY = "efficiency|efficiency_seasonal|temperature_bins"

_AS_COP = (
    "`cop_reason` names a lack of data, that it is mostly counted over a silence that goes on beyond the row, or a use "
    "whose heat is above Carnot; or of what is left there is less than `minimum_electrical_energy_kwh`, no heat, or "
    "more than Carnot allows (`electrical_energy_least_kwh`)"
)
_AS_USE = (
    "`cop_uses_reason` names it; or of what is left there is less than `minimum_electrical_energy_kwh`, no heat, or "
    "more than Carnot allows"
)
_NO_BAND = "it has no band of its own: its meters are off by the shares that they are off by in that of `{0}`"
_APART_KNOWN = "the immersion heater has no meter, or one that is known for too little of the time, or for another time"
_PLANT = "what the meter of `electrical_power` includes (`meters:` in the settings), without cooling"
_WATER = "heat into the water at the machine, what defrosts took subtracted, without cooling"
_HEAT_AND_POWER = f"electricity: {_PLANT}; heat: {_WATER}"
_USED = "(electrical_energy_kwh - electrical_energy_cooling_kwh)"
_NOTHING_KNOWN = "nothing is known of it in the row"
_NOT_TOLD = "no such meter or counter is read"

MEANINGS: Final = (
    # ---- COP and JAZ
    Meaning(
        "cop", _FIGURES, "cop", f"thermal_energy_kwh / {_USED}",
        method="a ratio of sums; the year's is the JAZ",
        boundary=f"{_HEAT_AND_POWER}; standby, defrosts and what was used and given in an unknown mode are in both",
        null_when="`cop_reason` says why",
    ),
    Meaning(
        "cop_reason", _FIGURES, "cop", null_when="there is nothing to say",
        method="the first that applies, of the time without cooling; the last is that one "
        "use has more heat than Carnot allows, and at least 5 % of "
        "all heat: the whole would hide it",
    ),
    Meaning(
        "cop_uses_reason", _FIGURES, "cop", null_when="both have one",
        method="a lack of data, or of each use the first that applies: not in the row, a band down to 0, less than "
        "`minimum_electrical_energy_kwh`, no heat, above Carnot (`electrical_energy_least_kwh` of its mode)",
    ),
    Meaning("spf_reason", _FIGURES, "cop", method="the first that applies, of the time without cooling",
            null_when="there is nothing to say"),
    Meaning(
        "cop_(heating|dhw)", _FIGURES, "cop", "thermal_energy_{0}_kwh / electrical_energy_{0}_kwh",
        boundary="as `cop`, in mode {0} alone: no standby", null_when="`cop_uses_reason` says why",
    ),
    Meaning(
        "cop_without_defrost", _FIGURES, "cop",
        f"(thermal_energy_kwh - thermal_energy_defrost_kwh) / ({_USED} - electrical_energy_defrost_kwh)",
        method=_NO_BAND.format("cop"),
        boundary="as `cop`, neither heat nor electricity of the time spent defrosting", null_when=_AS_COP,
    ),
    Meaning(
        "cop_(heating|dhw)_without_defrost", _FIGURES, "cop",
        "(thermal_energy_{0}_kwh - thermal_energy_{0}_defrost_kwh)"
        " / (electrical_energy_{0}_kwh - electrical_energy_{0}_defrost_kwh)",
        method=_NO_BAND.format("cop_{0}"),
        boundary="as `cop_{0}`, neither heat nor electricity of the time spent defrosting", null_when=_AS_USE,
    ),
    Meaning(
        "cop_without_standby", _FIGURES, "cop",
        "(thermal_energy_heating_kwh + thermal_energy_dhw_kwh)"
        " / (electrical_energy_heating_kwh + electrical_energy_dhw_kwh)",
        boundary="as `cop`, standby left out of both", null_when=_AS_COP,
    ),
    Meaning(
        "cop_gross", _FIGURES, "cop", f"(thermal_energy_kwh + coalesce(heat_taken_kwh, 0)) / {_USED}",
        boundary="as `cop`, what defrosts took from the water not subtracted", null_when=_AS_COP,
    ),
    Meaning(
        "cop_with_immersion", _FIGURES, "cop",
        method="heat ÷ electricity; `electrical_energy_immersion_kwh` is added to whichever of the two does not "
        "include the immersion heater by `meters:`; as `cop` where there is none",
        boundary="as `cop`, and the immersion heater, whose heat is its electricity, once in each",
        null_when=f"{_AS_COP}; {_APART_KNOWN}",
    ),
    Meaning(
        "cop_dhw_with_immersion", _FIGURES, "cop",
        "(thermal_energy_dhw_kwh + coalesce(electrical_energy_immersion_kwh, 0))"
        " / (electrical_energy_dhw_kwh + coalesce(electrical_energy_immersion_kwh, 0))",
        method=f"{_NO_BAND.format('cop_dhw')}, and that of the immersion heater by its own",
        boundary="as `cop_dhw`, and the immersion heater",
        null_when=f"{_AS_USE}; {_APART_KNOWN}; a meter of the heat pump includes it: how much of that lies in mode dhw "
        "is not told",
    ),
    Meaning(
        "spf_h([1-4])", _FIGURES, "cop",
        method="heat ÷ electricity; a consumer that the main meter includes and the boundary does not is subtracted, "
        "one that the boundary includes and the main meter does not is added, each by its own meter",
        boundary="H{0} of SEPEMO; consumers of the house: those of `meters:` and `consumers:` in the settings, and "
        "those with a power or counter of their own among the signals of the inputs (of one that is not there the "
        "input says so: `signals: {immersion_heater_power: null}`)",
        null_when="`spf_reason` says why: `cop_reason`, or a consumer between two boundaries has no meter of its own, "
        "or its meter is known for too little of the time, or for another time, or what is left of heat or electricity "
        "within the boundary is less than the steps of the counters and the errors of the meters may hide, or is above "
        "Carnot",
    ),
    # ---- energies
    Meaning(
        "electrical_energy_kwh", f"{_FIGURES}|quarter_hourly", "energies",
        method="of each moment by the best way that is known (`electrical_method`, see the ways above); a counter's "
        "increments are spread over the time in which it ran",
        boundary="what the meter of `electrical_power` includes, cooling too; the immersion heater where that does",
        null_when=_NOTHING_KNOWN,
    ),
    Meaning(
        "thermal_energy_kwh", f"{_FIGURES}|quarter_hourly", "energies",
        method="of each moment by the best way that is known (`thermal_method`, see the ways above)",
        boundary=_WATER, null_when=_NOTHING_KNOWN,
    ),
    Meaning(
        "(electrical|thermal)_energy_(heating|dhw|cooling|standby)_kwh", f"{_FIGURES}|quarter_hourly", "energies",
        boundary="mode by the session rule: a defrost belongs to the session that it interrupts",
        null_when=_NOTHING_KNOWN,
    ),
    Meaning(
        "(electrical|thermal)_energy_((heating_|dhw_)?defrost)_kwh", _FIGURES, "energies",
        boundary="the time of believable defrosts; heat is negative where they took more than was given",
        null_when=_NOTHING_KNOWN,
    ),
    Meaning(
        "(electrical|thermal)_energy_counter_kwh", _FIGURES, "energies",
        method="increments of the classified counter (`counters`), a meter's first, spread over the frames since the "
        "step before",
        null_when="no counter of it is read",
    ),
    Meaning(
        "(electrical|thermal)_energy_integral_kwh", _FIGURES, "energies",
        method="power × time of the frames in which it is known; a gap is not bridged", null_when="no power is known",
    ),
    Meaning(
        "(electrical|thermal)_energy_residual_kwh", _FIGURES, "energies",
        method="sum of counter − integral over the frames for which both are known", null_when="never both are known",
    ),
    Meaning(
        "(electrical|thermal)_energy_unobserved_kwh", _FIGURES, "energies",
        method="increments over silences longer than `session_gap`, by time; a meter's as the machine tells of them "
        "meanwhile, where it does", null_when="no counter of it is read",
    ),
    Meaning(
        "electrical_energy_(immersion|backup_heater|circulation_pump|brine_pump|fan|crankcase_heater)_kwh",
        f"{_FIGURES}|quarter_hourly", "energies", method="its own counter, else the integral of its power",
        null_when=_NOT_TOLD,
    ),
    Meaning(
        "electrical_energy_least(_heating|_dhw)?_kwh", _FIGURES, "energies",
        method="sum over the frames of heat × (1 − T_source ÷ T_flow) in kelvin, at least heat ÷ `maximum_cop`: also "
        "where the source is unknown; an unknown flow is taken to have 20 °C; the source is `source_in_temperature`, "
        "else the outdoor air",
        boundary="positive heat alone; heat of electric heaters that the meter of heat includes (`meters:` in the "
        "settings) is left out where they have a meter of their own, so it holds for every boundary",
        null_when="no heat is known",
    ),
    Meaning(
        "heat_taken_kwh", _FIGURES, "energies",
        method="negative heat of defrosts, as a positive number: of flow rate × spread where what tells the heat only "
        "counts up (`counts_negative` of a counter in the profile says otherwise)",
        boundary="the time of believable defrosts, without `defrost_unmeasured_s`", null_when="no heat is known",
    ),
    Meaning(
        "heat_from_tank_kwh", _FIGURES, "energies", method="`heat_taken_kwh` while the valve leads to the tank",
        null_when="no heat is known",
    ),
    Meaning(
        "cop_(modulation|delta_t)", "performance_5min", "cop",
        method="heat of this method ÷ electricity of the same time; by modulation, while heating or making hot water",
        null_when="`cop_{0}_reason` says why",
        boundary="five minutes in which the compressor ran; no other figure is made of it",
    ),
    # ---- coverage and uncertainty
    Meaning(
        "(electrical|thermal)_coverage", _FIGURES, "coverage",
        method="`{0}_s` ÷ length of the row, of what lies between the first and the last reading there are",
    ),
    Meaning(
        "(electrical|thermal)_method", _FIGURES, "coverage", null_when="the energy is not known",
        method="of each moment the first way that is known; the list has each that any moment of the row was made in; "
        "over a silence of a meter both its counter, which says how much, and what says when",
    ),
    Meaning(
        "(electrical|thermal)_energy_(low|high)_kwh", _FIGURES, "coverage",
        method="energy ∓ 1.96 standard deviations: permissible error (`{0}_meter_error_kwh` ÷ √3), counter's step "
        "(÷ √6), edges between readings and in a silence of the counter (`{0}_begin_error_kwh`, `{0}_end_error_kwh`, "
        "÷ √3), as squares; the upper end also holds what the time without readings may have "
        "had (up to twice its share), the lower lacks what unmeasured defrosts may have taken",
        null_when="the energy is not known",
    ),
    Meaning(
        "(cop|cop_(?:heating|dhw|without_standby|gross|with_immersion)|spf_h[1-4])_(low|high)", _FIGURES, "coverage",
        method="relative deviations of heat and electricity added as squares, × 1.96, and half of what lacks; of a "
        "part of an energy the meter's error is the same share (of heat: of that of its own mode), and that of steps "
        "and edges the same amount (edges in time without readings are in no mode); where a consumer is added or taken "
        "off the main meter is off by as many kWh as before, and the consumer's meter by its class (`meters:` in the "
        "settings, else 10 %) on both sides at once; "
        "its upper end is not above Carnot",
        null_when="there is no `{0}`",
    ),
    Meaning(
        "(electrical|thermal)_meter_error(?:_heating|_dhw)?_kwh", _FIGURES, "coverage",
        null_when="nothing is known of the energy",
        method="sum of energy × the permissible error of its way: the class that `meters:` states of a meter, else "
        "that of the ways above; over a silence of a meter, whose counter says how much, that of the meter",
    ),
    Meaning(
        "(electrical|thermal)_(begin|end)_error_kwh", _FIGURES, "coverage",
        method="of what a counter counted over the silence in which the {1} lies, the lesser of what is before and "
        "what is behind it; × the permissible error of the way that says when, whole where it is spread by time; 0 "
        "where it lies in none",
        null_when="nothing is known of the energy",
    ),
    Meaning("edge_uncertainty_s2", _FIGURES, "coverage", null_when="no cycle begins in the row"),
    # ---- time and temperatures
    Meaning("(electrical|thermal)_cooling_s", _FIGURES, "time"),
    Meaning("(observed|electrical|thermal|heating|dhw|cooling|standby|defrost|compressor)_s", _FIGURES, "time"),
    Meaning(
        "defrost_unmeasured_s", _FIGURES, "time",
        method="time of the frames of defrosts for which heat is known, from something that only counts up, and not "
        "both flow rate and spread",
    ),
    Meaning(
        "(immersion|backup_heater|circulation_pump|brine_pump|fan|crankcase_heater)_s", _FIGURES, "time",
        method="time of the frames in which its own counter or power is known",
    ),
    Meaning("compressor_starts|defrosts|heating_sessions|dhw_sessions", _FIGURES, "time",
            method="those that begin in the row"),
    Meaning(
        f"({_SIGNALS})_(min|max|mean|first|last)", _FIGURES,
        "time", method="of the frames; a mean is weighed with time", null_when="the signal is known at no moment",
        is_listed_once=True,
    ),
    Meaning(f"({_SIGNALS})_s", _FIGURES, "time",
            is_listed_once=True),
    # ---- costs
    Meaning(
        "cost(?:_(heating|dhw|cooling|standby|immersion))?", _COSTS, "costs",
        method="sum over the quarters of an hour of energy × price",
        boundary="the energy price; the standing charge is apart; `cost` holds `cost_immersion` where the heat pump's "
        "meter includes the immersion heater", null_when="no price or no electricity is known",
    ),
    Meaning(
        "(cost|co2)_with_immersion(_kg)?", _COSTS, "costs",
        method="`{0}{1}` of the heat pump, and of the immersion heater where the heat pump's meter does not include "
        "it by `meters:`",
        null_when="either is not known; the immersion heater has no meter",
    ),
    Meaning("standing_charge", _COSTS, "costs",
            method="charge per day × days of the calendar, from the heat pump's first reading to the newest of the "
            "house; days, weeks, months, seasons and years add up to the same, also those without readings, which have "
            "rows of their own: what was paid is `sum(cost) + sum(standing_charge)` over the rows of all heat pumps",
            boundary="shared evenly by the heat pumps of the house that were read by then; one that is silent for 28 "
            "days while others are read has no part after its newest reading; days that no heat pump is left for stay "
            "with those that were read last",
            null_when="no tariff holds, or the heat pump has no part yet or any more"),
    Meaning("standing_charge_s", _COSTS, "costs"),
    Meaning("price_per_kwh", _COSTS, "costs", "cost / priced_kwh", null_when="no price is known"),
    Meaning(
        "cost_per_kwh_heat", _COSTS, "costs", "(cost - coalesce(cost_cooling, 0)) / thermal_energy_kwh",
        boundary="as `cop`: standby and defrosts included", null_when="`cost_reason` says why",
    ),
    Meaning(
        "cost_per_kwh_(heating|dhw)", _COSTS, "costs", "cost_{0} / thermal_energy_{0}_kwh",
        boundary="as `cop_{0}`", null_when="`cost_reason`, or less heat than `minimum_electrical_energy_kwh`",
    ),
    Meaning(
        "cost_per_kwh_heat_with_standing_charge", _COSTS, "costs",
        "(cost - coalesce(cost_cooling, 0) + standing_charge * thermal_s / standing_charge_s) / thermal_energy_kwh",
        null_when="`cost_reason` says why",
    ),
    Meaning("co2(?:_(heating|dhw|cooling|standby|immersion))?_kg", _COSTS, "costs",
            method="sum over the quarters of an hour of energy × intensity",
            null_when="no tariff and no price file tells an intensity, or no electricity is known"),
    Meaning(
        "co2_g_per_kwh_heat", _COSTS, "costs",
        "(co2_kg - coalesce(co2_cooling_kg, 0)) * 1000 / thermal_energy_kwh", boundary="as `cop`",
        null_when="`cost_reason`, or no intensity for more than 1 % of the electricity",
    ),
    Meaning(
        "co2_g_per_kwh_(heating|dhw)", _COSTS, "costs", "co2_{0}_kg * 1000 / thermal_energy_{0}_kwh",
        boundary="as `cop_{0}`", null_when="as `co2_g_per_kwh_heat`, or less heat than `minimum_electrical_energy_kwh`",
    ),
    Meaning("(priced|co2_known)_kwh", _COSTS, "costs", null_when="none"),
    Meaning("cost_reason", _COSTS, "costs", method="the floors of `cop`, then the price",
            null_when="there is a `cost_per_kwh_heat`"),
    Meaning("(electrical|thermal)_coverage", _COSTS, "coverage",
            method="`{0}_s` ÷ length of the row, of what lies between the first and the last reading there are"),
    # ---- outlook
    Meaning(
        "(electrical|thermal)_energy_change", "comparisons", "outlook",
        "({0}_energy_kwh / {0}_days) / ({0}_energy_kwh_before / {0}_days_before) - 1",
        null_when="`comparison_reason` says why",
    ),
    Meaning("cop_change", "comparisons", "outlook", "cop - cop_before",
            null_when="`comparison_reason`, or one of the two has no `cop`"),
    Meaning("comparison_reason", "comparisons", "outlook", null_when="it is compared"),
    Meaning(
        "(electrical|thermal)_energy_kwh|cop|cop_reason", "outlook", "outlook", boundary="as in the figures",
        method="of the days from `known_since` to the newest", null_when=_NOTHING_KNOWN,
    ),
    Meaning(
        "(electrical|thermal)_energy_estimate_kwh", "outlook", "outlook",
        method="so far + heating so far ÷ its share of a year's heating × the share that lacks + the rest by days "
        "+ cooling as in the same months of other years; "
        "shares by own full years, else by own degree days, else by those of an average year; where the weather of the "
        "same months of other years is known, a cold month stands for more",
        null_when="`estimate_reason` says why: less than 30 days, or than a quarter of a year's heating",
    ),
    Meaning(
        "(electrical|thermal)_energy_estimate_(low|high)_kwh", "outlook", "outlook",
        method="8 of 10 cases lie within: the weather of the months that lack, and what the known ones say of the year",
        null_when="`estimate_reason` says why",
    ),
    Meaning("electrical_energy_cooling_estimate_kwh", "outlook", "outlook",
            method="so far + in what lacks as in the same months of other years, none where they do not tell",
            null_when="there is no estimate of the electricity"),
    Meaning("cop_estimate", "outlook", "outlook",
            "thermal_energy_estimate_kwh / (electrical_energy_estimate_kwh - electrical_energy_cooling_estimate_kwh)",
            null_when="there is no estimate, or no `cop` so far"),
    Meaning("cost|standing_charge|co2_kg", "outlook", "outlook", method="as in `costs_yearly`",
            null_when="no tariff tells it"),
    Meaning("cost_estimate|co2_estimate_kg", "outlook", "outlook",
            method="estimated electricity × what a kWh cost (or stood for) so far; a tariff that is known but begins "
            "later than the newest day does not count yet",
            null_when="no tariff tells it, or there is no estimate of the electricity"),
    Meaning("standing_charge_estimate", "outlook", "outlook",
            method="by days, also of tariffs that begin later; the newest goes on, shared as now",
            null_when="no tariff holds"),
    Meaning("(electrical|thermal)_energy_plain_kwh", "outlook", "outlook",
            null_when="less than a day is known"),
    Meaning("method|estimate_reason", "outlook", "outlook", null_when="there is nothing to say"),
    # ---- cycling and defrosts
    Meaning("starts_per_hour", "cycling_daily", "events", "starts / (known_s / 3600)",
            null_when="it is never known whether the compressor ran"),
    Meaning("starts_difference", "cycling_daily", "events", "starts - device_starts", null_when="`device_reason`"),
    Meaning("running_difference_s", "cycling_daily", "events", "running_s - device_running_s",
            null_when="`device_reason`"),
    Meaning("device_(starts|running_s)", "cycling_daily", "events", null_when="`device_reason` says why"),
    Meaning("starts(_heating|_dhw|_after_defrost)?|pauses_too_short|most_starts_60min|running_s|known_s|runs",
            "cycling_daily", "events"),
    Meaning("(run|pause)_(least|p10|median|p90)_s|period_median_s", "cycling_daily", "events",
            null_when="none was seen whole"),
    Meaning("short_cycling(_day)?", "cycling_daily", "events",
            null_when="it is known for too little of the day whether the compressor ran: `short_cycling_reason`"),
    Meaning("short_cycling_reason", "cycling_daily", "events"),
    Meaning("(run|pause|period)_s|starts_60min|pause_too_short", "compressor_runs", "events",
            null_when="it was not seen whole"),
    Meaning("heat_again_s|recovery_s|recovery_reason", "defrosts", "events",
            null_when="it was not seen, or heat is not known"),
    Meaning("confidence", "sessions|cycles", "events", null_when="never",
            method="sum of `mode_confidence` × time of its frames (`operation`) ÷ their time"),
    Meaning("defrosts_per_hour", _DEFROSTS, "events", "defrosts / (compressor_s / 3600)",
            null_when="the compressor did not run"),
    Meaning("defrost_share", _DEFROSTS, "events", "defrost_s / compressor_s", null_when="the compressor did not run"),
    Meaning("recovery_mean_s", _DEFROSTS, "events", "recovery_sum_s / recovered", null_when="no recovery was seen"),
    Meaning("cop", _DEFROSTS, "events", "thermal_energy_kwh / electrical_energy_kwh", null_when="`cop_reason`"),
    Meaning("cop_cost", _DEFROSTS, "events", "cop_without_defrost - cop", null_when="`cop_reason`"),
    Meaning("(flow|source)_temperature_mean", _DEFROSTS, "events", null_when="it is not known"),
    Meaning("(flow|source)_temperature_s", _DEFROSTS, "events"),
    Meaning("cop_without_defrost|cop_reason", _DEFROSTS, "events", null_when="as `cop`"),
    Meaning("heat_taken_net_kwh|heat_from_tank_kwh|electrical_energy_defrost_kwh", _DEFROSTS, "events",
            null_when=_NOTHING_KNOWN),
    # ---- efficiency
    Meaning("cop_running", _EFFICIENCY, "house", "running_thermal_energy_kwh / running_electrical_energy_kwh",
            boundary="as `cop`, the time the compressor runs alone; of the refrigerant cycle: heat and electricity of "
            "electric heaters that have a meter of their own are taken off (others are in it)",
            null_when="`efficiency_reason` says why"),
    Meaning(
        "carnot_cop", _EFFICIENCY, "house",
        "(flow_temperature_weighted + 273.15) / (flow_temperature_weighted - source_temperature_weighted)",
        null_when="a temperature is unknown, or they differ by less than 5 K",
    ),
    Meaning("carnot_grade", _EFFICIENCY, "house", "cop_running / carnot_cop", boundary="as `cop_running`",
            null_when="`efficiency_reason`"),
    Meaning("(flow|return|outdoor|source)_temperature_weighted", _EFFICIENCY, "house",
            method="sum of heat × temperature ÷ sum of heat; heat of electric heaters as in `cop_running`",
            null_when="it is not known while heat was given"),
    Meaning("efficiency_reason", _EFFICIENCY, "house", null_when="there is nothing to say"),
    Meaning("cop_normalised|normalised_share|normalised_reason", "efficiency_seasonal", "house",
            null_when="`normalised_reason` says why; other modes than heating"),
    Meaning("cop_at_reference", "temperature_bins", "house",
            method="`carnot_grade` × COP of an ideal machine between the source and the reference flow temperature; "
            "that, and its distance from the source, at most 10 K beyond what was seen in the bins of the mode",
            null_when="`reference_reason` says why"),
    Meaning("reference_reason", "temperature_bins", "house", null_when="there is a `cop_at_reference`"),
    Meaning("coverage", _EFFICIENCY, "house"),
    Meaning("heating_degree_days|degree_day_number", "degree_days", "house", null_when="`degree_days_reason`"),
    Meaning("(heat_loss|base_temperature|heat_at|spread)_.*|base_temperature|days", "heat_loss|heat_loss_all_time",
            "house", boundary="days of mode heating that are known for 90 %", null_when="`heat_loss_reason` says why"),
    Meaning("(flow|return)_(set_)?(slope|level_c)|(flow|return)_above_setpoint_k", "heating_curve", "house",
            method="median of the slopes of all pairs of bins (Theil–Sen)",
            null_when="`curve_reason`, or it is not known in five bins"),
    # ---- solar
    Meaning(
        "stored_change_kwh", _SOLAR, "solar",
        "coalesce(solar_kwh, 0) + coalesce(immersion_kwh, 0) + coalesce(pellet_kwh, 0) + coalesce(heat_pump_kwh, 0)"
        " + unexplained_kwh - draw_kwh - standby_loss_kwh",
        method="level of the layers at the end − at the begin; the others balance it to the last bit",
        null_when="the layers are not known",
    ),
    Meaning(
        "collected_kwh", _SOLAR, "solar",
        "solar_kwh + coalesce(immersion_kwh, 0) + coalesce(pellet_kwh, 0)",
        null_when="solar heat, or that of a heater of the settings, is not known",
    ),
    Meaning("stored_energy_rate_kw", _SOLAR, "solar", "stored_change_kwh / (covered_s / 3600)",
            null_when="the layers are not known"),
    Meaning("stratification_k", _SOLAR, "solar", "tank_top_temperature_mean - tank_bottom_temperature_mean",
            null_when="the layers are not known"),
    Meaning("standby_loss_w_per_k", _SOLAR, "solar", "idle_loss_kwh * 1000 / (idle_s / 3600 * idle_excess_mean)",
            null_when="less than six idle hours, or the tank hardly warmer than the room"),
    Meaning("(solar|immersion|pellet)_difference_kwh", _SOLAR, "solar", "device_{0}_kwh - {0}_kwh",
            null_when="the device does not tell it"),
    Meaning("heat_pump_kwh", _SOLAR, "solar",
            method="their quarters of an hour, over the time for which they ran for the tank",
            null_when="the settings name no heat pump, one of them tells nothing, or the layers are not known"),
    Meaning("(solar|immersion|pellet|unexplained|draw|standby_loss|idle_loss)_kwh", _SOLAR, "solar",
            null_when="the layers, or what drove it, are not known"),
    Meaning("coverage", f"{_SOLAR}|{_HOUSE}", "solar"),
    Meaning(
        "balanced_(input|output)_kwh", _HOUSE, "solar",
        method="sum over the hours for which tank, heaters of the settings and heat pumps are known together for 0.9 "
        "of the time for which the tank is, of that time",
        boundary="the heat of heat pumps as the tank's hours have it, not that of the time for which the tank is not "
        "known",
        null_when="there is no such hour",
    ),
    Meaning(
        "closure_error_kwh", _HOUSE, "solar", "balanced_input_kwh - balanced_output_kwh",
        boundary="the hours that are balanced; of an hour it is what is unexplained of it, with the other sign",
        null_when="no hour is balanced",
    ),
    Meaning(
        "closure", _HOUSE, "solar", "closure_error_kwh / balanced_input_kwh",
        boundary="the hours that are balanced", null_when="less than 0.05 kWh came in",
    ),
    # ---- what the others are made of
    Meaning(
        "(observed_s|electrical_energy_kwh|thermal_energy(_heating|_dhw)?_kwh|cop(_heating|_dhw)?|compressor_starts"
        "|.+_temperature_mean)(_before)?", "comparisons", "outlook",
        method="as in the figures, up to the period's end or the newest day; `_before`: of the earlier period",
        null_when="nothing is known of these days, or a `cop` is not borne by them", is_listed_once=True,
    ),
    Meaning("days_(known|left)|(electrical|thermal)_days", "outlook", "outlook"),
    Meaning("(electrical|thermal)_days(_before)?", "comparisons", "outlook"),
    Meaning("(electrical|thermal)_s", "quarter_hourly", "time"),
    Meaning("begins|known_s|longest_s", "state_daily", "time"),
    Meaning("share", "state_daily", "time", method="`known_s` ÷ the time for which the signal is known on the day"),
    Meaning("standstills|standstills_in_all|applied", "sensor_offsets", "coverage"),
    Meaning("offset_day_k|offset_k|spread_k", "sensor_offsets", "coverage",
            null_when="`offset_reason`, or no standstill"),
    Meaning("offset_k|spread_k", "standstills", "coverage", method="flow − return of its frames"),
    Meaning("outdoor_(from|to)", f"{_DEFROSTS}|temperature_bins|heat_loss_bins", "house", null_when="it is unknown"),
    Meaning("recovered|recovery_sum_s|defrosts|defrost_s|compressor_s", _DEFROSTS, "events"),
    Meaning("(electrical|thermal)_energy_kwh", _DEFROSTS, "events",
            boundary="hours of that mean outdoor temperature, without cooling", null_when=_NOTHING_KNOWN),
    Meaning("thermal_power_(modulation|delta_t)_mean", "performance_5min", "energies",
            boundary="five minutes in which the compressor ran; no other figure is made of it",
            null_when="it is not known together with the electrical power; by modulation, also while "
            "cooling or defrosting. A counter tells that power where no increment is more than a fifth of five "
            "minutes' electricity"),
    Meaning("(running_)?hours|(running_)?(electrical|thermal)_energy_kwh", _EFFICIENCY, "house",
            boundary="moments for which electricity and heat are both known; without cooling"),
    Meaning("(flow|return)_(temperature|setpoint)_running", "temperature_bins", "house",
            null_when="it is not known while the compressor ran"),
    Meaning("outdoor_temperature_mean|room_temperature_mean|thermal_energy_heating_kwh|thermal_coverage",
            "degree_days", "house", null_when="it is not known on the day"),
    Meaning("outdoor_coverage|(electrical|thermal)_s", "degree_days", "house"),
    Meaning("(electrical|thermal)_energy_(unobserved_)?kwh", "degree_days", "house", boundary="as in `daily`",
            null_when="it is not known on the day"),
    # ---- days filled up
    Meaning(
        "(electrical|thermal)_energy_filled_up_kwh", "filled_daily", "filled",
        "coalesce({0}_energy_seen_kwh, 0) + {0}_energy_counted_kwh + {0}_energy_estimated_kwh",
        boundary="as in `daily`; in no other figure", null_when="`{0}_filling_reason` says why",
    ),
    Meaning("(electrical|thermal)_energy_seen_kwh", "filled_daily", "filled",
            method="`{0}_energy_kwh` of the day without what was counted over a silence", null_when="nothing was read"),
    Meaning(
        "(electrical|thermal)_energy_counted_kwh", "filled_daily", "filled",
        method="what the counter counted over the silence, shared out over its days (within a month) by what the "
        "house's own days of that outdoor temperature had, else by time; the days add to what was counted",
    ),
    Meaning(
        "(electrical|thermal)_energy_estimated_kwh", "filled_daily", "filled",
        method="time that lacks × mean of the 8 days nearest in outdoor temperature, of this month and 11 before; the "
        "temperature of an unread day on the line between the days around, 7 days away at most",
        null_when="`{0}_filling_reason` says why",
    ),
    Meaning(
        "(electrical|thermal)_filled_share", "filled_daily", "filled",
        "({0}_energy_counted_kwh + {0}_energy_estimated_kwh) / {0}_energy_filled_up_kwh",
        null_when="there is no `{0}_energy_filled_up_kwh`, or it is 0",
    ),
    Meaning("(electrical|thermal)_filling(_reason)?", "filled_daily", "filled", null_when="there is nothing to say"),
    Meaning("outdoor_temperature_mean", "filled_daily", "filled", null_when="no day around tells it"),
    Meaning("days|heat_mean_w|outdoor_temperature_mean", "heat_loss_bins", "house"),
    Meaning("bins", "heating_curve", "house"),
    Meaning("stratification_k_per_m|solar_kwh_per_m2", _SOLAR, "solar",
            null_when="the settings do not tell the height or the area, or the layers are not known"),
    Meaning("(legacy|device)_(solar|immersion|pellet)_kwh", _SOLAR, "solar", boundary="for comparison only",
            null_when="what it is made from is not told"),
    Meaning("(covered|heaters|heat_pump|all_known|idle)_s", _SOLAR, "solar"),
    Meaning("(pump|immersion|pellet|stagnation)_s|pump_starts|immersion_known_s", _SOLAR, "solar",
            boundary="the time for which its own signals are known, layers or not; `pump_s` and, where no meter tells "
            "it, the others are what `state_daily` has"),
    Meaning("(stored_energy|usable_litres)_(first|last|min|max)|(tank|tank_top|tank_bottom)_temperature_mean"
            "|solar_collector_temperature_max|idle_excess_mean", _SOLAR, "solar", null_when="the layers are not known"),
    Meaning("(heat_pump|heat_pump_heating|solar|immersion|pellet|stored_change|draw|standby_loss)_kwh"
            "|covered_s|heat_pump_s", _HOUSE, "solar",
            method="heat pumps: their hourly figures; the others: the tank's", boundary="own time of each",
            null_when="it is not known"),
    Meaning("immersion_electrical_kwh", _SOLAR, "solar", null_when="nothing is told of it"),
    Meaning("(heat_pump|immersion)_electrical_kwh", _HOUSE, "solar", boundary="own time of each",
            method="heat pumps: their hourly figures; the immersion heater: the tank's", null_when="it is not known"),
    Meaning("electrical_kwh", _HOUSE, "solar",
            method="sum of both over the hours in which neither is unknown; the heat pumps' alone where the meter of "
            "one includes the immersion heater (`meters:`); where the settings name no immersion heater, what is not "
            "told of one is 0",
            null_when="there is no such hour"),
    Meaning("balanced_s|electrical_s|electrical_coverage", _HOUSE, "solar"),
)  # fmt: skip
"""The first that fits a column holds."""


def meaning_of(table: Table, column: Column) -> Meaning | None:
    """What a column means; None of columns that are no figures for people (times, keys, sums in whole numbers)."""
    return next((found for meaning in MEANINGS if (found := meaning.of(column, table))), None)


def meanings(tables: Iterator[Table]) -> Iterator[tuple[Table, Column, Meaning]]:
    """Every column that has a meaning, table by table."""
    for table in tables:
        for column in table.columns:
            found = meaning_of(table, column)
            if found is not None:
                yield table, column, found
