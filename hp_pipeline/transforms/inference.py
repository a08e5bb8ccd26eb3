"""What a heat pump does, where it does not tell: mode and defrost from flow rate, valve, temperatures and power.

A machine's own word comes first, then its three-way valve, then evidence. Each piece of evidence is worth so much for
or against hot water (log-odds: +3 is about 20 to 1 for it), and they are added:

* flow rate, where the settings say from which on the pump runs for the tank (two thresholds: a hysteresis);
* flow temperature against the set-point of heating: hot water needs more than any heating curve asks for;
* temperature of the tank: it rises only when something heats it, and it does not while hotter water flows elsewhere.

A house with two meters (electricity and heat) has none of these. There the flow speaks for itself:

* flow temperature against the outdoor temperature: no heating curve asks for so hot a flow in such weather;
* flow temperature against the level it kept in the hours around: hot water needs more than the house takes;
* flow rate against its level, where the pump of the heating keeps one speed: hot water has another.

Where none of it speaks for hot water, that is heating, at a low confidence.

Between the thresholds the verdict before it in the same run is held, then the one after it. A charge begins before it
shows: its begin is the last step of the flow rate before the first evidence, else the start of the run.

Every verdict needs only its neighbourhood: `REACH` of frames on each side give what the whole history gives.
"""

from __future__ import annotations

from datetime import timedelta

import polars as pl

from hp_pipeline.vocabulary.rules import Rules

REACH = timedelta(hours=2)
"""How many frames before and after a frame its verdict may depend on …"""

REACH_BY_LEVEL = timedelta(hours=12)
"""… where the flow temperatures around it may be all that there is (`reach`)."""

SETTLES = timedelta(minutes=75)
"""So long after a frame, later readings may still change its verdict."""

SETTLES_BY_LEVEL = timedelta(minutes=210)
"""The same of a verdict that is made of the flow temperatures around it (`by_level`)."""

FRAME_COLUMNS = [
    *("operating_mode", "three_way_valve", "defrost", "flow_rate", "delta_t", "flow_temperature", "flow_setpoint"),
    *("outdoor_temperature", "dhw_temperature", "immersion_heater_power", "immersion_heater_on"),
]
"""What inference reads of the frames, with `start`, `end` and `compressor_running`."""

TOLD, VALVE, INFERRED = "told", "valve", "inferred"

_OVERRUN = timedelta(minutes=3)
"""Water that still flows so long after the compressor belongs to the run; a shorter pause does not end one."""
_HELD = timedelta(minutes=30)
"""So long a verdict is held where the evidence is weak, and so far before it a charge may have begun."""
_TAIL = timedelta(minutes=6)
"""So long after its end a charge may still seem to go on."""
_SILENT = timedelta(hours=1)
"""A state that is unknown for a shorter time stays unknown."""
_SLOPE = timedelta(minutes=5)
"""The tank's temperature is compared this long before and after a frame."""
_WARMS_UP = timedelta(minutes=3)
"""So long after its start a run may meet water warmer than what stood in the machine."""
_BEFORE_DEFROST, _AFTER_DEFROST = timedelta(minutes=3), timedelta(minutes=10)
"""So near to a defrost, temperatures and steps of the flow rate are its own and speak for nothing else."""
_LEVEL_BEFORE, _LEVEL_AFTER = timedelta(hours=10), timedelta(hours=2)
"""The levels of flow temperature and flow rate are those of so long before and after a frame …"""
_LEVEL_STEP = timedelta(minutes=5)
"""… the greatest in each stretch of the clock of such a length …"""
_LEVEL_QUANTILE = 0.75
"""… as three quarters of these are no higher: charges take less of the time than the rest while there is heating."""
_CHARGES_FROM_C = 40.0
_ABOVE_LEVEL_K, _AT_LEVEL_K = 5.0, 3.0
_STEEPEST_CURVE_C, _STEEPEST_CURVE_K_PER_K = 25.0, 1.5
"""No heating curve asks for a hotter flow: the first at an outdoor temperature of 20 °C, and the second more for each
kelvin less (old radiators)."""
_OTHER_SPEED = 0.03
"""By this share flow rates of two speeds of a pump differ, and those of one do not."""
_FLOWS_L_PER_H = 30.0
_STEP = 0.02
"""A change of the flow rate by this share may be the pump's other speed."""
_IMMERSION_W = 500.0

_CONFIDENCE = {TOLD: 1.0, VALVE: 0.95, "standby": 0.9, "cooling": 0.8}


def raw_mode() -> pl.Expr:
    """Mode that the machine and its valve tell: standby, heating, dhw, cooling; null when it is unknown.

    A machine that says heating while its valve leads to the tank makes hot water.
    """
    told = pl.col("operating_mode")
    return pl.when(_by_valve()).then(pl.lit("dhw")).otherwise(told)


def _by_valve() -> pl.Expr:
    return (pl.col("operating_mode") == "heating") & (pl.col("three_way_valve") == "dhw").fill_null(False)


def with_modes(frames: pl.DataFrame, rules: Rules, tells_dhw: bool) -> pl.DataFrame:
    """Add `raw_mode`, `mode_source`, `mode_confidence`, `by_level`, `defrost_source`, and complete `defrost`.

    Args:
        frames: `FRAME_COLUMNS`, `start`, `end`, `compressor_running`, sorted by `start`.
        tells_dhw: whether the machine's word for its mode can be dhw; if not, its word heating may mean hot water.
    """
    told = pl.col("operating_mode")
    frames = frames.with_columns(
        raw_mode=raw_mode(),
        mode_source=pl.when(_by_valve()).then(pl.lit(VALVE)).when(told.is_not_null()).then(pl.lit(TOLD)),
        mode_confidence=pl.when(_by_valve()).then(_CONFIDENCE[VALVE]).when(told.is_not_null()).then(1.0),
        defrost_source=pl.when(pl.col("defrost").is_not_null()).then(pl.lit(TOLD)),
        by_level=pl.lit(False),
    )
    if not rules.infer_modes:
        return frames
    asks = _silent(frames, "operating_mode")
    if not tells_dhw:
        asks |= (told == "heating").fill_null(False) & _silent(frames, "three_way_valve")
    frames = frames.with_columns(asks=asks, asks_defrost=_silent(frames, "defrost"))
    if frames["asks"].any():
        frames = frames.with_columns(by_level=_by_level(frames, rules))
    if frames["asks"].any() or frames["asks_defrost"].any():
        frames = _with_negative_heat(_with_activity(frames), rules)
        if frames["asks"].any():
            frames = _decided(_with_verdicts(_with_evidence(frames, rules)))
        known = pl.col("asks_defrost") & pl.col("active").is_not_null() & pl.col("delta_t").is_not_null()
        frames = frames.with_columns(
            defrost=pl.when(known).then("reversed").otherwise("defrost"),
            defrost_source=pl.when(known).then(pl.lit(INFERRED)).otherwise("defrost_source"),
        )
    return frames.select(name for name in frames.columns if name not in _SCRATCH)


_SCRATCH = {
    *("asks", "asks_defrost", "from_us", "till_us", "active", "run", "run_us", "negative", "reversed", "cools"),
    *("wake", "step_us", "evidence", "verdict", "held", "onset_evidence"),
}


def _silent(frames: pl.DataFrame, name: str) -> pl.Expr:
    """Whether a state is unknown, and has been and will be for `_SILENT`: the machine does not tell it."""
    if not frames[name].null_count():
        return pl.lit(False)
    known = pl.col(name).is_not_null()
    before = pl.col("start") - pl.when(known).then("end").forward_fill()
    after = pl.when(known).then("start").backward_fill() - pl.col("end")
    return pl.col(name).is_null() & (before > _SILENT).fill_null(True) & (after > _SILENT).fill_null(True)


_BESIDE_THE_FLOW = ("operating_mode", "flow_setpoint", "dhw_temperature")
"""What tells hot water from heating; where all of it is silent, the flow speaks for itself."""


def reach(frames: pl.DataFrame) -> timedelta:
    """How many frames before and after a frame its verdict may depend on, by the frames around: more where one has
    nothing of `_BESIDE_THE_FLOW`."""
    untold = pl.all_horizontal(pl.col(name).is_null() for name in _BESIDE_THE_FLOW)
    return REACH_BY_LEVEL if frames.select(untold.any()).item() else REACH


def _by_level(frames: pl.DataFrame, rules: Rules) -> pl.Expr:
    """Whether nothing but the flow temperature itself can tell heating from hot water."""
    if rules.dhw_flow_rate_l_per_min:
        return pl.lit(False)
    silent = (_silent(frames, name) for name in _BESIDE_THE_FLOW)
    return pl.all_horizontal("asks", pl.col("flow_temperature").is_not_null(), *silent)


def _us(duration: timedelta) -> int:
    return duration // timedelta(microseconds=1)


def _with_activity(frames: pl.DataFrame) -> pl.DataFrame:
    """Add `active`: the compressor runs, has only paused, or its water still flows; null when nothing tells it."""
    running = pl.col("compressor_running")
    frames = frames.with_columns(from_us=pl.col("start").dt.epoch("us"), till_us=pl.col("end").dt.epoch("us"))
    since = pl.col("from_us") - pl.when(running).then("till_us").forward_fill()
    until = pl.when(running).then("from_us").backward_fill() - pl.col("till_us")
    overrun = (since <= _us(_OVERRUN)) & (pl.col("flow_rate") > _FLOWS_L_PER_H)
    pauses = since + until <= _us(_OVERRUN)
    frames = frames.with_columns(
        active=pl.when(running.is_not_null()).then(running | overrun.fill_null(False) | pauses.fill_null(False))
    )
    return frames.with_columns(run=pl.col("active").rle_id()).with_columns(run_us=pl.col("from_us").first().over("run"))


def _with_negative_heat(frames: pl.DataFrame, rules: Rules) -> pl.DataFrame:
    """Add `reversed` (a defrost takes heat from the water), `cools` (for longer than any defrost does), and `wake` (so
    near to either that temperatures say nothing)."""
    spread, threshold = pl.col("delta_t"), rules.defrost_spread_k
    runs_for = pl.col("from_us") - pl.col("run_us")
    frames = frames.with_columns(
        negative=(pl.col("active") & (spread < -threshold) & (runs_for > _us(_WARMS_UP))).fill_null(False)
    )
    frames = frames.with_columns(run_of=pl.col("negative").rle_id())
    lasts = (pl.col("till_us").max() - pl.col("from_us").min()).over("run_of")
    negative = pl.when("negative")
    after = pl.col("from_us") - negative.then("till_us").forward_fill()
    before = negative.then("from_us").backward_fill() - pl.col("from_us")
    near = (after <= _us(_AFTER_DEFROST)).fill_null(False) | (before <= _us(_BEFORE_DEFROST)).fill_null(False)
    return frames.with_columns(
        wake=near,
        reversed=pl.col("negative") & (lasts <= _us(rules.max_defrost)),
        cools=pl.col("negative") & (lasts > _us(rules.max_defrost)),
    ).drop("run_of")


def _with_evidence(frames: pl.DataFrame, rules: Rules) -> pl.DataFrame:
    """Add `evidence`: log-odds of hot water against heating; null when nothing speaks for either."""
    frames, scratch = frames.with_columns(rise=_rise(frames)), ["rise"]
    excess = pl.col("flow_temperature") - pl.col("flow_setpoint")
    by_setpoint = (
        pl.when(excess >= rules.dhw_above_setpoint_k)
        .then(3.0)
        .when(excess < rules.dhw_above_setpoint_k / 2)
        .then(-1.5)
        .when(excess.is_not_null())
        .then(0.0)
    )
    immersed = (pl.col("immersion_heater_power") > _IMMERSION_W).fill_null(False) | pl.col(
        "immersion_heater_on"
    ).fill_null(False)
    hotter = pl.col("flow_temperature") > pl.col("dhw_temperature") + 4
    by_tank = (
        pl.when(immersed)
        .then(None)
        .when((pl.col("rise") >= 0.7) & (pl.col("flow_temperature") > pl.col("dhw_temperature") - 2).fill_null(True))
        .then(3.0)
        .when((pl.col("rise") <= 0.0) & hotter)
        .then(-1.0)
        .when(pl.col("rise").is_not_null())
        .then(0.0)
    )
    parts: list[pl.Expr] = [by_setpoint, by_tank]
    if rules.dhw_flow_rate_l_per_min:
        rate, from_rate = pl.col("flow_rate"), 60 * rules.dhw_flow_rate_l_per_min
        parts.append(
            pl.when(rate >= from_rate)
            .then(4.0)
            .when(rate < from_rate - 60 * rules.dhw_flow_rate_hysteresis_l_per_min)
            .then(-4.0)
            .when(rate.is_not_null())
            .then(0.0)
        )
    if frames["by_level"].any():
        frames = _with_levels(frames)
        parts.append(pl.when("by_level").then(_by_the_flow_itself()))
        scratch += _LEVELS
    known = pl.any_horizontal(part.is_not_null() for part in parts)
    total = pl.sum_horizontal(part.fill_null(0.0) for part in parts)
    return frames.with_columns(evidence=pl.when(pl.col("active") & known & ~pl.col("wake")).then(total - 0.5)).drop(
        scratch
    )


def _with_levels(frames: pl.DataFrame) -> pl.DataFrame:
    """Add `level` (°C), which the flow temperature around a frame seldom exceeds while the machine is active, and
    `least_rate` and `most_rate` (l/h), between which the flow rate mostly lies."""
    step = pl.col("start").dt.truncate(_LEVEL_STEP)
    seen = (
        frames.filter(pl.col("active"), ~pl.col("wake"), pl.col("flow_temperature").is_not_null())
        .group_by(step.alias("step"), maintain_order=True)
        .agg(flow=pl.col("flow_temperature").max(), rate=pl.col("flow_rate").max())
    )
    # From the begin of the first of the stretches to the end of the last.
    reach = _LEVEL_BEFORE + _LEVEL_AFTER + _LEVEL_STEP
    levels = seen.rolling("step", period=reach, offset=-_LEVEL_BEFORE - _LEVEL_STEP).agg(
        level=pl.col("flow").quantile(_LEVEL_QUANTILE, "lower"),
        least_rate=pl.col("rate").quantile(1 - _LEVEL_QUANTILE, "lower"),
        most_rate=pl.col("rate").quantile(_LEVEL_QUANTILE, "lower"),
    )
    return frames.with_columns(step=step).join(levels, on="step", how="left", maintain_order="left").drop("step")


_LEVELS = ("level", "least_rate", "most_rate")


def _by_the_flow_itself() -> pl.Expr:
    """What the flow says of hot water: against the weather, against its own level, and by another speed of the pump.
    It is one flow, so all of it together is no surer than a machine's set-point and tank."""
    flow, rate, outdoor = pl.col("flow_temperature"), pl.col("flow_rate"), pl.col("outdoor_temperature")
    charges = flow >= _CHARGES_FROM_C
    curve = _STEEPEST_CURVE_C + _STEEPEST_CURVE_K_PER_K * (20 - outdoor).clip(0)
    above = flow - pl.col("level")
    one_speed = pl.col("most_rate") <= (1 + _OTHER_SPEED) * pl.col("least_rate")
    other = (rate > (1 + _OTHER_SPEED) * pl.col("most_rate")) | ((1 + _OTHER_SPEED) * rate < pl.col("least_rate"))
    said = pl.sum_horizontal(
        pl.when(charges & (flow >= curve)).then(3.0),
        pl.when(charges & (above >= _ABOVE_LEVEL_K)).then(2.5).when(above < _AT_LEVEL_K).then(-1.0),
        pl.when(charges & one_speed & other).then(2.5),
    )
    return said.clip(upper_bound=4.5)


def _rise(frames: pl.DataFrame) -> pl.Series:
    """By how many kelvin the tank warms from `_SLOPE` before a frame to `_SLOPE` after it."""
    tank = frames.select("from_us", "dhw_temperature").drop_nulls()
    if tank.is_empty():
        return pl.Series([None] * frames.height, dtype=pl.Float64)
    ends = []
    for shift in (-_us(_SLOPE), _us(_SLOPE)):
        at = frames.select(from_us=pl.col("from_us") + shift)
        ends.append(at.join_asof(tank, on="from_us", tolerance=_us(_SLOPE))["dhw_temperature"])
    return ends[1] - ends[0]


def _with_verdicts(frames: pl.DataFrame) -> pl.DataFrame:
    """Add `verdict`: dhw or heating for the frames in which it is active; null when there is no evidence near."""
    strong = pl.when(pl.col("evidence") >= 1).then(True).when(pl.col("evidence") <= -1).then(False)
    frames = frames.with_columns(verdict=strong)
    frames = _with_steps(frames)
    seen = pl.col("verdict").is_not_null()
    before = pl.col("verdict").forward_fill().over("run")
    since = pl.col("from_us") - pl.when(seen).then("from_us").forward_fill().over("run")
    after = pl.col("verdict").backward_fill().over("run")
    until = pl.when(seen).then("from_us").backward_fill().over("run") - pl.col("from_us")
    held = _us(_HELD)
    stepped = pl.col("step_us").forward_fill() > pl.when(seen).then("from_us").forward_fill().over("run")
    goes_on = (since <= held) & ~(before & stepped.fill_null(False) & after.is_not_null() & ~after).fill_null(False)
    frames = frames.with_columns(
        held=pl.when(pl.col("active")).then(
            pl.coalesce(pl.when(goes_on).then(before), pl.when(until <= held).then(after))
        )
    )
    return _with_begins_of_charges(_with_ends_of_charges(frames))


def _with_steps(frames: pl.DataFrame) -> pl.DataFrame:
    """Add `step_us`: the frame's begin, where the pump changes its speed while it is active, away from defrosts."""
    rate = pl.col("flow_rate")
    step = (rate / rate.shift(1) - 1).abs()
    steps = step.is_finite() & (step >= _STEP) & pl.col("active") & ~pl.col("wake")
    # A pump that has just begun to turn is no other speed of it.
    steps &= ~pl.col("by_level") | (pl.col("from_us") - pl.col("run_us") > _us(_WARMS_UP))
    return frames.with_columns(step_us=pl.when(steps).then("from_us"))


def _with_ends_of_charges(frames: pl.DataFrame) -> pl.DataFrame:
    """Move each end of hot water that heating follows back to a step of the flow rate shortly before it: the tank goes
    on warming for a while, and so does what flows back."""
    follows = pl.col("held") & (~pl.col("held").shift(-1)).fill_null(False) & (pl.col("run") == pl.col("run").shift(-1))
    ends = frames.filter(follows).select(end_us="till_us")
    steps = frames.filter(pl.col("step_us").is_not_null(), "held").select("step_us")
    tails = (
        ends.join_where(steps, pl.col("step_us") < pl.col("end_us"), pl.col("step_us") > pl.col("end_us") - _us(_TAIL))
        .group_by("end_us")
        .agg(pl.col("step_us").min())
        .sort("step_us")
    )
    if tails.is_empty():
        return frames
    behind = frames.select("from_us").join_asof(tails, left_on="from_us", right_on="step_us")["end_us"]
    return frames.with_columns(
        held=pl.when((pl.col("from_us") < behind).fill_null(False) & pl.col("held")).then(False).otherwise("held")
    )


def _with_begins_of_charges(frames: pl.DataFrame) -> pl.DataFrame:
    """Move each begin of hot water back to the step of the flow rate before it, else to the start of the run."""
    frames = frames.with_columns(
        begins=(pl.col("held") & ~pl.col("held").shift(1).fill_null(False)).fill_null(False),
    )
    onsets = frames.filter("begins").select(onset_us="from_us", run_us="run_us", onset_evidence="evidence")
    if onsets.is_empty():
        return frames.with_columns(onset_evidence=pl.lit(None, pl.Float64)).drop("begins")
    steps = frames.filter(pl.col("step_us").is_not_null()).select("from_us")
    last = (
        onsets.join_where(
            steps, pl.col("from_us") <= pl.col("onset_us"), pl.col("from_us") > pl.col("onset_us") - _us(_HELD)
        )
        .filter(pl.col("from_us") > pl.col("run_us"))
        .group_by("onset_us")
        .agg(pl.col("from_us").max().alias("step_us"))
    )
    onsets = onsets.join(last, on="onset_us", how="left", maintain_order="left")
    began_with_run = pl.col("onset_us") - pl.col("run_us") <= _us(_HELD)
    onsets = onsets.with_columns(
        begin_us=pl.coalesce("step_us", pl.when(began_with_run).then("run_us"), "onset_us")
    ).sort("begin_us")
    frames = frames.join_asof(
        onsets.select("begin_us", "onset_us", "onset_evidence"), left_on="from_us", right_on="begin_us"
    )
    charging = (pl.col("from_us") < pl.col("onset_us")).fill_null(False) & pl.col("active")
    return frames.with_columns(
        held=pl.when(charging).then(True).otherwise("held"),
        onset_evidence=pl.when(charging).then("onset_evidence"),
    ).drop("begins", "onset_us", "begin_us")


def _decided(frames: pl.DataFrame) -> pl.DataFrame:
    """Fill in mode, source and confidence where they were asked for."""
    valve, active, told = pl.col("three_way_valve"), pl.col("active"), pl.col("operating_mode")
    asks, heats = pl.col("asks"), pl.col("active") | (pl.col("operating_mode") == "heating")
    is_heating = ~pl.col("held") | (pl.col("held").is_null() & pl.col("by_level"))
    verdict = pl.when(pl.col("held")).then(pl.lit("dhw")).when(is_heating).then(pl.lit("heating"))
    of_valve = pl.when(valve == "dhw").then(pl.lit("dhw")).when(valve == "space").then(pl.lit("heating"))
    mode = (
        pl.when(pl.col("cools"))
        .then(pl.lit("cooling"))
        .when(heats)
        .then(pl.coalesce(of_valve, verdict, told))
        .when(~active)
        .then(pl.lit("standby"))
    )
    near = pl.coalesce(pl.col("evidence").forward_fill().over("run"), pl.col("evidence").backward_fill().over("run"))
    odds = pl.coalesce("onset_evidence", "evidence", near).fill_null(0.0)
    sure = 1 / (1 + (pl.when(mode == "dhw").then(-odds).otherwise(odds)).exp())
    source = (
        pl.when(mode.is_null())
        .then(None)
        .when(heats & ~pl.col("cools") & of_valve.is_not_null())
        .then(pl.lit(VALVE))
        .when(heats & ~pl.col("cools") & verdict.is_null())
        .then(pl.lit(TOLD))
        .otherwise(pl.lit(INFERRED))
    )
    confidence = (
        pl.when(source == VALVE)
        .then(_CONFIDENCE[VALVE])
        .when(source == TOLD)
        .then(0.5)
        .when(mode.is_in(["standby", "cooling"]))
        .then(mode.replace_strict(_CONFIDENCE, default=None, return_dtype=pl.Float64))
        .when(mode.is_not_null())
        .then(sure)
    )
    return frames.with_columns(
        raw_mode=pl.when(asks).then(mode).otherwise("raw_mode"),
        mode_source=pl.when(asks).then(source).otherwise("mode_source"),
        mode_confidence=pl.when(asks).then(confidence).otherwise("mode_confidence"),
    )
