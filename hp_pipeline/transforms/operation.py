"""Frames → what the heat pump does in each: the session rule.

1. Raw mode per frame: what the machine or its three-way valve tells, else what is inferred (`inference`). A silence
   longer than `session_gap` is a gap.
2. Defrost episodes are islands of the defrost flag; one longer than `max_defrost` is a stuck flag and is ignored.
3. Runs are islands of equal raw mode; blocks are islands of heating and dhw runs.
4. A heating or dhw run is an *excursion* if it lies within one defrost, padded by `quarantine` on both sides: the valve
   swings to the tank because heat for the defrost is taken from there, not because the tank wants any. Where states are
   read more seldom than that, the padding is the time in which the defrost may have begun and the run may have ended,
   `hold` at most.
5. The effective mode of an excursion is that of the last other run before it in its block, else of the next after it,
   else its own.
6. Islands of effective mode shorter than `min_session` take the mode of the long island before, else after them.
7. Sessions are islands of the result. Within them a cycle is a stretch of one state: defrost, compressor on, off.

The rule needs only its neighbourhood: a day with `MARGIN` of frames on each side gives what the whole history gives.
Each day is judged by just these, also when many days are done at once, so that even a valve that flutters for hours,
through which a mode could be handed on without end, cannot make a figure depend on how the work was cut.
Frames whose raw mode is unknown have no mode and no part in it.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import polars as pl

from hp_pipeline.transforms import inference, standstill
from hp_pipeline.transforms.division import divided
from hp_pipeline.transforms.schema import conform
from hp_pipeline.vocabulary.rules import Rules

MARGIN = timedelta(hours=2)
"""How many frames before and after the days wanted the rule must see."""


def wide_margin(frames: pl.DataFrame) -> timedelta:
    """How many frames before and after the days wanted must be given, by the frames of these days and around: those
    that the rule must see, judged as they are."""
    return MARGIN + inference.reach(frames)


FRAME_COLUMNS = [
    *("heat_pump", "start", "end", "last_read", "states_read", "changed_after", "thermostat", *inference.FRAME_COLUMNS),
    *("backup_heater_power", "backup_heater_step1", "backup_heater_step2"),
    *("compressor_on", "compressor_frequency", "compressor_current", "compressor_modulation"),
    *("electrical_power", "thermal_power"),
]
"""What the rule reads of the frames."""


_RUNS_W, _RESTS_W = 800.0, 400.0
"""No heat pump for a house gives less heat than the first; sensors of flow and return that differ by 0.2 K show less
than the second in standing heat."""
_COOLS_DOWN = timedelta(minutes=10)


def operation(
    frames: pl.DataFrame, start: datetime, end: datetime, rules: Rules, more_follows: bool, tells_dhw: bool = True
) -> pl.DataFrame:
    """Table `operation` for the frames that start within [start, end).

    Args:
        start, end: whole UTC days.
        frames: `FRAME_COLUMNS` of one heat pump, with `wide_margin` of them before `start` and after `end` where they
            exist.
        more_follows: whether there are frames after those given; if not, the tail of them is provisional.
        tells_dhw: whether the machine's word for its mode can be dhw; if not, its word heating may mean hot water.
    """
    if frames.is_empty():
        return conform(None, "operation")
    frames = frames.sort("start").with_columns(compressor_running=compressor_running(rules))
    frames = inference.with_modes(frames, rules, tells_dhw)
    frames = frames.with_columns(at_rest=standstill.at_rest())
    settled = _settled(frames, rules)
    frames = _windows(frames, start, end)
    known = modes(frames.filter(pl.col("raw_mode").is_not_null()), rules)
    frames = frames.join(
        known.select("from_us", "mode", "gap", "session", "defrosting", "unseen_us"),
        on="from_us",
        how="left",
        maintain_order="left",
    )
    result = (
        _cycles(frames, rules)
        .filter("inside")
        .with_columns(
            defrost=pl.col("defrosting"),
            provisional=pl.lit(False) if more_follows else pl.col("start") > settled,
            unseen_s=divided(pl.col("unseen_us"), 1e6),
        )
    )
    return conform(result, "operation")


def _settled(frames: pl.DataFrame, rules: Rules) -> datetime:
    """What starts later may still be judged otherwise: a defrost may reach back to it, or an inference."""
    newest: datetime = frames.select(pl.col("last_read").max()).item()
    # A defrost that goes on may have begun so long before it was seen.
    unseen = pl.col("start") - pl.coalesce("changed_after", "states_read", pl.col("last_read").shift(1))
    of_late = pl.col("start") > newest - rules.max_defrost
    longest: timedelta | None = frames.select(unseen.filter(of_late).max()).item()
    before = max(rules.provisional_after, rules.max_defrost + min(longest or timedelta(), rules.hold))
    inferred = frames.filter(pl.col("mode_source") == inference.INFERRED)
    for settles, rows in ((inference.SETTLES, inferred), (inference.SETTLES_BY_LEVEL, inferred.filter("by_level"))):
        if rows.filter(pl.col("start") > newest - settles).height:
            before = max(before, settles)
    return newest - before


_DAY = timedelta(days=1)


def _windows(frames: pl.DataFrame, start: datetime, end: datetime) -> pl.DataFrame:
    """The frames of each day with their margins, one window behind the other, sorted.

    Adds `inside` (not in a margin) and in microseconds `from_us` (start), `till_us` (end), `read_us` (last read),
    `states_us` (states read before) and `changed_us` (what changes did so after it), in which the windows lie so far
    apart that nothing is handed on between them.
    """
    count = -(-(end - start) // _DAY)
    into = pl.col("start") - pl.lit(start)
    frames = frames.with_columns(window=into.dt.total_microseconds() // _us(_DAY))
    into_day = into.dt.total_microseconds() - pl.col("window") * _us(_DAY)
    windows = pl.concat(
        [
            frames.with_columns(inside=pl.lit(True)),
            frames.filter(into_day >= _us(_DAY - MARGIN)).with_columns(pl.col("window") + 1, inside=pl.lit(False)),
            frames.filter(into_day < _us(MARGIN)).with_columns(pl.col("window") - 1, inside=pl.lit(False)),
        ]
    )
    apart = pl.col("window") * _us(_DAY)
    return (
        windows.filter(pl.col("window").is_between(0, count - 1))
        .with_columns(
            from_us=pl.col("start").dt.epoch("us") + apart,
            till_us=pl.col("end").dt.epoch("us") + apart,
            read_us=pl.col("last_read").dt.epoch("us") + apart,
            states_us=pl.col("states_read").dt.epoch("us") + apart,
            changed_us=pl.col("changed_after").dt.epoch("us") + apart,
        )
        .sort("from_us")
    )


def compressor_running(rules: Rules) -> pl.Expr:
    """Whether the compressor runs: by what tells it most directly, in this order; null when nothing does."""
    return pl.coalesce(
        pl.col("compressor_on"),
        pl.col("compressor_frequency") > 0,
        pl.col("compressor_current") > 0,
        pl.col("compressor_modulation") > 0,
        pl.col("electrical_power") > rules.compressor_power_w,
        pl.col("thermostat"),
        _heat_says(),
    )


def _heat_says() -> pl.Expr:
    """Whether the heat given (or taken, in a defrost) says that the compressor runs: from `_RUNS_W` on it does, up to
    `_RESTS_W` it does not, and between them it does what it did, for as long as water may still cool down."""
    heat, start = pl.col("thermal_power").abs(), pl.col("start")
    said = pl.when(heat >= _RUNS_W).then(True).when(heat <= _RESTS_W).then(False)
    before, since = said.forward_fill(), pl.when(said.is_not_null()).then(start).forward_fill()
    held = (start - since <= _COOLS_DOWN) & heat.is_not_null()
    return pl.coalesce(said, pl.when(held).then(before), heat >= (_RUNS_W + _RESTS_W) / 2)


def _us(duration: timedelta) -> int:
    return duration // timedelta(microseconds=1)


def _island(changes: pl.Expr) -> pl.Expr:
    """Number the islands: one more at each gap and wherever `changes` holds."""
    return (pl.col("gap") | changes).cast(pl.Int32).cum_sum()


def _changes(name: str) -> pl.Expr:
    return pl.col(name).ne_missing(pl.col(name).shift(1))


def modes(frames: pl.DataFrame, rules: Rules) -> pl.DataFrame:
    """The session rule on frames of known raw mode.

    Args:
        frames: `raw_mode`, `defrost`, and in microseconds `from_us` (start), `till_us` (end), `read_us` (last read),
            `states_us` (the states were last read before it), `changed_us` (what changes there did so after it).

    Returns:
        The frames with `gap`, `excursion`, `mode`, `session` (number of the session), `defrosting` (in a believable
        defrost) and `unseen_us` (time since the states were read before it, or since when they may have changed where
        that is told; null after a gap).
    """
    silence = pl.col("from_us") - pl.col("read_us").shift(1)
    frames = frames.with_columns(
        gap=(silence > _us(rules.session_gap)).fill_null(True), flag=pl.col("defrost").fill_null(False)
    )
    frames = frames.with_columns(
        unseen_us=pl.when(~pl.col("gap")).then(
            pl.col("from_us") - pl.coalesce("changed_us", "states_us", pl.col("read_us").shift(1))
        ),
        episode=_island(_changes("flag")),
        run=_island(_changes("raw_mode")),
        block=_island(_changes_of_heat_demand()),
    )
    episodes = _episodes(frames, rules)
    frames = frames.with_columns(defrosting=pl.col("flag") & pl.col("episode").is_in(episodes["episode"].implode()))
    runs = _effective_modes(frames, episodes, rules)
    frames = frames.join(runs, on="run", how="left", maintain_order="left").with_columns(
        island=_island(_changes("effective")), stretch=pl.col("gap").cast(pl.Int32).cum_sum()
    )
    frames = frames.join(_absorbed(frames, rules), on="island", how="left", maintain_order="left")
    return frames.with_columns(session=_island(_changes("mode")))


def _is_heat_demand() -> pl.Expr:
    return pl.col("raw_mode").is_in(["heating", "dhw"])


def _changes_of_heat_demand() -> pl.Expr:
    return _is_heat_demand() != _is_heat_demand().shift(1)


def _episodes(frames: pl.DataFrame, rules: Rules) -> pl.DataFrame:
    """`episode`, `from_us`, `till_us`, `unseen_us` (in which it began) of the believable defrosts."""
    return (
        frames.filter("flag")
        .group_by("episode")
        .agg(pl.col("from_us").min(), pl.col("till_us").max(), pl.col("unseen_us").first())
        .filter(pl.col("till_us") - pl.col("from_us") <= _us(rules.max_defrost))
        .sort("from_us")
    )


def _effective_modes(frames: pl.DataFrame, episodes: pl.DataFrame, rules: Rules) -> pl.DataFrame:
    """`run`, `excursion`, `effective`: the mode of each run, an excursion's taken from its neighbours in the block."""
    runs = (
        frames.with_columns(unseen_us=pl.col("unseen_us").shift(-1))
        .group_by("run", maintain_order=True)
        .agg(
            pl.col("block").first(),
            pl.col("raw_mode").first(),
            pl.col("from_us").min(),
            pl.col("till_us").max(),
            pl.col("unseen_us").last(),
        )
        .sort("from_us")
    )
    least, most = _us(rules.quarantine), _us(max(rules.quarantine, rules.hold))
    padding = pl.col("unseen_us").fill_null(0).clip(least, most)
    opened = episodes.select(opens=pl.col("from_us") - padding, closes="till_us")
    excursions = (
        runs.filter(_is_heat_demand())
        .with_columns(ends=pl.col("till_us") - padding)
        .join_where(opened, pl.col("from_us") >= pl.col("opens"), pl.col("ends") <= pl.col("closes"))
        .select("run")
        .unique()
    )
    runs = runs.with_columns(excursion=pl.col("run").is_in(excursions["run"].implode()))
    firm = pl.when(~pl.col("excursion")).then(pl.col("raw_mode"))
    return runs.select(
        "run",
        "excursion",
        effective=pl.coalesce(
            firm.forward_fill().over("block"), firm.backward_fill().over("block"), pl.col("raw_mode")
        ),
    )


def _absorbed(frames: pl.DataFrame, rules: Rules) -> pl.DataFrame:
    """`island`, `mode`: a short island takes the mode of the long one before it in its stretch, else after it."""
    islands = (
        frames.group_by("island")
        .agg(pl.col("stretch").first(), pl.col("effective").first(), pl.col("from_us").min(), pl.col("till_us").max())
        .sort("from_us")
    )
    lasts = pl.col("till_us") - pl.col("from_us") >= _us(rules.min_session)
    long = pl.when(lasts).then(pl.col("effective"))
    return islands.select(
        "island",
        mode=pl.coalesce(
            long.forward_fill().over("stretch"), long.backward_fill().over("stretch"), pl.col("effective")
        ),
    )


def _cycles(frames: pl.DataFrame, rules: Rules) -> pl.DataFrame:
    """Add the state of the cycle and what begins with each frame. A frame without a mode begins no session, cycle or
    defrost. A start of the compressor is one that was seen: at rest at most `session_gap` before."""
    known = pl.col("mode").is_not_null()
    frames = frames.with_columns(
        state=pl.when(pl.col("defrosting"))
        .then(pl.lit("defrost"))
        .when(pl.col("compressor_running"))
        .then(pl.lit("on"))
        .when(~pl.col("compressor_running"))
        .then(pl.lit("off")),
        gap=pl.col("gap").fill_null(False),
    )
    before = pl.col("session").forward_fill().shift(1)
    session_start = (known & pl.col("session").ne_missing(before)).fill_null(False)
    running_known = pl.col("compressor_running").is_not_null()
    rested = pl.when(running_known).then(~pl.col("compressor_running")).forward_fill().shift(1)
    seen = pl.when(running_known).then("read_us").forward_fill().shift(1)
    seen_at_rest = rested & (pl.col("from_us") - seen <= _us(rules.session_gap))
    state_before = pl.col("state").forward_fill().shift(1)
    defrosting_before = pl.when(known).then(pl.col("defrosting")).forward_fill().shift(1).fill_null(False)
    frames = frames.with_columns(
        session_start=session_start,
        compressor_start=(pl.col("compressor_running") & seen_at_rest).fill_null(False),
        defrost_start=(pl.col("defrosting") & (~defrosting_before | pl.col("gap"))).fill_null(False),
    )
    cycle_start = (
        known
        & pl.col("state").is_not_null()
        & (pl.col("session_start") | pl.col("state").ne_missing(state_before) | _first_known_state_of_session())
    )
    return frames.with_columns(cycle_start=cycle_start.fill_null(False))


def _first_known_state_of_session() -> pl.Expr:
    """A session that begins with an unknown state has its first cycle where the state becomes known."""
    last_known_session = (
        pl.when(pl.col("state").is_not_null() & pl.col("mode").is_not_null())
        .then(pl.col("session"))
        .forward_fill()
        .shift(1)
    )
    return pl.col("session").ne_missing(last_known_session)
