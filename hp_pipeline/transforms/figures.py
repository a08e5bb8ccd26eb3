"""The figures of any stretch of time: energies, durations, counts, statistics and the ratios made of them.

All tables of figures (hours to years, sessions, cycles, defrosts) have the same columns and come from the same three
steps: `pieces` (per frame, summed over the smallest stretches of one mode, state and hour), `merge` (add rows), and
`shown` (to the units that people read). Between them, sums are whole numbers in the *exact* form: energies in
millijoules, durations in microseconds, a mean as value times microseconds; the ways to an energy are a set of bits.
Whole numbers add to the same sum, and bits to the same set, in any order and any grouping, so a month is the merge of
its days to the last bit.
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from hp_pipeline.transforms.boundaries import Ratio, spf_columns
from hp_pipeline.transforms.division import divided
from hp_pipeline.transforms.energy import WAYS_OF, first_of, integral
from hp_pipeline.transforms.floors import Known, carnot_share, elapsed_s, is_borne, not_borne, percent, unknown
from hp_pipeline.transforms.sums import known_sum
from hp_pipeline.transforms.uncertainty import Error, fixed_deviation, permissible_error, ratio_band
from hp_pipeline.vocabulary.boundaries import BOUNDARIES
from hp_pipeline.vocabulary.rules import Rules
from hp_pipeline.vocabulary.signals import summary_signals
from hp_pipeline.vocabulary.tables import (
    COUNT_COLUMNS,
    DURATION_COLUMNS,
    METERED_APART_PARTS,
    METERED_PARTS,
    energy_columns,
)
from hp_pipeline.vocabulary.ways import BITS, COUNTED, DEVICE_COUNTER, METER_COUNTER, WAYS, WORDS

ENERGIES = [column.name for column in energy_columns()]
COUNTS = [column.name for column in COUNT_COLUMNS]
KNOWN = [f"{name}_s" for name in summary_signals()]
DURATIONS = [*(column.name for column in DURATION_COLUMNS), *KNOWN]
MEANS = [f"{name}_mean" for name in summary_signals()]
EDGE_ERRORS = {
    f"{kind}_{edge}_error_kwh": (f"{kind}_open_{edge}", f"{kind}_by_time_{edge}")
    for edge in ("begin", "end")
    for kind in ("electrical", "thermal")
}
"""What each energy may be off by at the edges of a row, with the columns of `energy.Energies` that it comes from."""
_BEGINS, _ENDS = ([name for name in EDGE_ERRORS if edge in name] for edge in ("_begin_", "_end_"))

METHODS = {f"{kind}_method": way for kind, way in WAYS_OF.items()}
"""The ways to each energy, with the column of `energy.Energies` that they come from."""

_MJ_PER_KWH = 3_600_000_000
_US_PER_S = 1_000_000

FRAME_COLUMNS = [
    *("heat_pump", "start", "end", "states_read", "changed_after"),
    *("three_way_valve", "immersion_heater_power", "backup_heater_power"),
    *(f"{part}_power" for part in METERED_PARTS),
    *summary_signals(),
]
"""What the figures read of the frames."""


def pieces(
    frames: pl.DataFrame, operation: pl.DataFrame, energies: pl.DataFrame, cut: pl.Expr, rules: Rules
) -> pl.DataFrame:
    """The smallest stretches that figures are made of, in the exact form.

    Args:
        frames: table `frames` (at least `FRAME_COLUMNS`) of one heat pump.
        operation: table `operation` for the same frames.
        energies: `energy.Energies.of_frames`, of these frames or more.
        cut: expression over the frames whose change ends a piece (such as the local hour); midnight (UTC) does too.

    Returns:
        Sorted by `start`: `heat_pump`, `start`, `end`, `cut`, `mode`, `state`, `defrost`, `gap`, what starts with it,
        `unseen_s`, `unread_s`, `provisional`, `valve_dhw_s`, `valve_space_s`, `confidence_s`, and every figure but the
        ratios in the exact form.
    """
    joined = (
        frames.select(FRAME_COLUMNS)
        .join(operation.drop("heat_pump", "end", "raw_mode"), on="start", how="inner", maintain_order="left")
        .join(energies.drop("end", "mode"), on="start", how="inner", maintain_order="left")
    )
    errors = {f"{kind}_error": (pl.col(kind).abs() * _permissible(kind, joined, rules)).round() for kind in WAYS_OF}
    errors |= _edge_errors(joined, rules)
    # Heat that is taken from the house while cooling has a column of its own.
    heat = {
        name: pl.when(pl.col("mode").ne_missing("cooling")).then(name)
        for name in ("thermal_counter", "thermal_integral", "thermal_residual")
    }
    begins = pl.col("gap") | pl.col("session_start") | pl.col("cycle_start") | pl.col("defrost_start")
    for name in ("cut", "mode", "state", "defrost"):
        begins |= pl.col(name).ne_missing(pl.col(name).shift(1))
    begins |= pl.col("start").dt.date() != pl.col("start").shift(1).dt.date()
    rows = (
        joined.with_columns(
            cut=cut, span=(pl.col("end") - pl.col("start")).dt.total_microseconds(), unread_s=_unread_s()
        )
        .with_columns(piece=begins.fill_null(True).cum_sum())
        .with_columns(
            **heat,
            least=_least(rules),
            **{name: error.cast(pl.Int64) for name, error in errors.items()},
            **{part: integral(pl.col(f"{part}_power"), pl.col("span")) for part in METERED_PARTS},
        )
        .group_by("piece", maintain_order=True)
        .agg(
            pl.col("heat_pump", "start", "cut", "mode", "state", "defrost", "gap").first(),
            pl.col("session_start", "cycle_start", "defrost_start", "unseen_s", "unread_s").first(),
            pl.col("end", "provisional").last(),
            pl.col("electrical", "thermal", "immersion", "backup", "span").sum(),
            known_sum(-pl.col("thermal_taken")).alias("heat_taken_kwh"),
            -pl.col("thermal_taken").filter(pl.col("three_way_valve") == "dhw").sum().alias("heat_from_tank_kwh"),
            *_known_time(
                "thermal", "defrost_unmeasured_s", pl.col("thermal").is_not_null() & pl.col("thermal_taken").is_null()
            ),
            *_known_time("three_way_valve", "valve_dhw_s", pl.col("three_way_valve") == "dhw"),
            *_known_time("three_way_valve", "valve_space_s", pl.col("three_way_valve") == "space"),
            (pl.col("mode_confidence") * pl.col("span")).round().cast(pl.Int64).sum().alias("confidence_s"),
            *(expression for kind in ("electrical", "thermal") for expression in _ways(kind)),
            *(pl.col(way).bitwise_or().alias(method) for method, way in METHODS.items()),
            *(pl.col(f"{kind}_error").sum().alias(f"{kind}_meter_error_kwh") for kind in WAYS_OF),
            pl.col(_BEGINS).first(),
            pl.col(_ENDS).last(),
            pl.col("least").sum(),
            *(known_sum(pl.col(part)).alias(f"electrical_energy_{part}_kwh") for part in METERED_PARTS),
            *_known_time("electrical", "electrical_s"),
            *_known_time("thermal", "thermal_s"),
            *_known_time("immersion", "immersion_s"),
            *_known_time("backup", "backup_heater_s"),
            *(expression for part in METERED_PARTS for expression in _known_time(part, f"{part}_s")),
            *_known_time("compressor_running", "compressor_s", pl.col("compressor_running")),
            pl.col("compressor_start").sum().cast(pl.Int64).alias("compressor_starts"),
            *(expression for name in summary_signals() for expression in _statistics(name)),
        )
    )
    return _by_mode(rows)


def _edge_errors(rows: pl.DataFrame, rules: Rules) -> dict[str, pl.Expr]:
    """`EDGE_ERRORS` of rows of `energy.Energies`, mJ: of what the machine shares out its permissible error (where it
    tells nothing, it is no better than its counter), of what is spread by time all."""
    found = {}
    for name, (opened, by_time) in EDGE_ERRORS.items():
        kind = name.partition("_")[0]
        if not (rows[opened] != 0).any():
            found[name] = pl.col(by_time)
            continue
        when = pl.col(WAYS_OF[kind]) - first_of(pl.col(WAYS_OF[kind]))
        told = pl.when(when > 0).then(first_of(when)).otherwise(BITS[DEVICE_COUNTER])
        shared = (pl.col(opened) * _permissible(kind, rows, rules, told)).round().cast(pl.Int64)
        found[name] = shared + pl.col(by_time)
    return found


def _unread_s() -> pl.Expr:
    """Time between the reading before a frame and its start. However exactly a source dates the change of a state,
    powers are seen when it is read."""
    dated = pl.col("changed_after").is_not_null() & pl.col("unseen_s").is_not_null()
    since = (pl.col("start") - pl.col("states_read")).dt.total_microseconds()
    return pl.when(dated).then(divided(since, 1e6)).otherwise("unseen_s")


def _permissible(kind: str, rows: pl.DataFrame, rules: Rules, by: pl.Expr | None = None) -> pl.Expr:
    """The maximum permissible error of an energy, as a share, by the way that says how much it is, or by another."""
    errors = rules.metering.errors_of(kind)
    bits = first_of(pl.col(WAYS_OF[kind])) if by is None else by
    least, most = rows.select(bits.min().alias("least"), bits.max().alias("most")).row(0)
    at = {
        BITS[word]: permissible_error(error, pl.col("flow_rate"), pl.col("delta_t"))
        for word, error in errors.items()
        if least is not None and least <= BITS[word] <= most
    }
    if len({errors[way.word] for way in WAYS if BITS[way.word] in at}) <= 1:
        return next(iter(at.values()), pl.lit(0.0))
    found = pl.lit(0.0)
    for bit, share in at.items():
        found = pl.when(bits == bit).then(share).otherwise(found)
    return found


def _ways(kind: str) -> list[pl.Expr]:
    """The energy of a kind by each of both ways, and the difference of the two where both are known."""
    ways = ("counter", "integral", "residual")
    return [known_sum(pl.col(f"{kind}_{way}")).alias(f"{kind}_energy_{way}_kwh") for way in ways]


def unobserved_pieces(energies: pl.DataFrame, rules: Rules) -> pl.DataFrame:
    """Energies that were counted over silences (`energy.Energies.unobserved`) → pieces that have nothing else."""
    energies = energies.with_columns(pl.lit(None, pl.Float64).alias(name) for name in ("flow_rate", "delta_t"))
    errors = {f"{kind}_meter_error_kwh": pl.col(kind).abs() * _permissible(kind, energies, rules) for kind in _BOTH}
    span = (pl.col("end") - pl.col("start")).dt.total_microseconds()
    none = {name: pl.lit(0, pl.Int64) for name in (*DURATIONS, *COUNTS)}
    known = {f"{kind}_s": pl.when(pl.col(kind).is_not_null()).then(span).otherwise(0) for kind in _BOTH}
    return energies.select(
        "heat_pump",
        "start",
        "end",
        "cut",
        *(pl.col(kind).alias(f"{kind}_energy{way}_kwh") for kind in _BOTH for way in ("", "_counter", "_unobserved")),
        *(pl.col(way).alias(method) for method, way in METHODS.items()),
        **{**none, **known, **{name: error.round().cast(pl.Int64) for name, error in errors.items()}},
        **_edge_errors(energies, rules),
    )


_BOTH = ("electrical", "thermal")


def _known_time(name: str, alias: str, when: pl.Expr | None = None) -> list[pl.Expr]:
    condition = pl.col(name).is_not_null() if when is None else when.fill_null(False)
    return [pl.col("span").filter(condition).sum().alias(alias)]


def _statistics(name: str) -> list[pl.Expr]:
    value = pl.col(name)
    known = value.is_not_null()
    return [
        value.min().alias(f"{name}_min"),
        value.max().alias(f"{name}_max"),
        (value * pl.col("span")).round().cast(pl.Int64).sum().alias(f"{name}_mean"),
        value.filter(known).first().alias(f"{name}_first"),
        value.filter(known).last().alias(f"{name}_last"),
        pl.col("span").filter(known).sum().alias(f"{name}_s"),
    ]


def _by_mode(rows: pl.DataFrame) -> pl.DataFrame:
    """Book what each piece used, gave and lasted under its mode and, if it is one, under defrost."""
    mode, defrost = pl.col("mode"), pl.col("defrost").fill_null(False)
    electrical, thermal = pl.col("electrical"), pl.col("thermal")

    def where(condition: pl.Expr, amount: pl.Expr) -> pl.Expr:
        return pl.when(condition.fill_null(False)).then(amount).otherwise(0)

    books: dict[str, pl.Expr] = {
        "electrical_energy_kwh": electrical,
        "thermal_energy_kwh": where(mode.ne_missing("cooling"), thermal),
        "electrical_energy_defrost_kwh": where(defrost, electrical),
        "thermal_energy_defrost_kwh": where(defrost, thermal),
        "thermal_energy_cooling_kwh": where(mode == "cooling", -thermal),
        "electrical_energy_cooling_kwh": where(mode == "cooling", electrical),
        "electrical_energy_immersion_kwh": pl.when(pl.col("immersion_s") > 0).then("immersion"),
        "electrical_energy_backup_heater_kwh": pl.when(pl.col("backup_heater_s") > 0).then("backup"),
        "electrical_energy_least_kwh": where(mode.ne_missing("cooling"), pl.col("least")),
        "heat_taken_kwh": pl.col("heat_taken_kwh"),
        "heat_from_tank_kwh": pl.col("heat_from_tank_kwh"),
        "observed_s": pl.col("span"),
        # Milliseconds squared are the whole numbers of s² that durations have of s.
        "edge_uncertainty_s2": where(pl.col("cycle_start"), (pl.col("unread_s").fill_null(0) * 1000).round() ** 2),
        "defrost_s": where(defrost, pl.col("span")),
        "defrosts": where(pl.col("defrost_start"), pl.lit(1, pl.Int64)),
        "heating_sessions": where((mode == "heating") & pl.col("session_start"), pl.lit(1, pl.Int64)),
        "dhw_sessions": where((mode == "dhw") & pl.col("session_start"), pl.lit(1, pl.Int64)),
    }
    for name in ("heating", "dhw", "standby"):
        books[f"electrical_energy_{name}_kwh"] = where(mode == name, electrical)
        books[f"thermal_energy_{name}_kwh"] = where(mode == name, thermal)
    for name in ("heating", "dhw"):
        books[f"electrical_energy_least_{name}_kwh"] = where(mode == name, pl.col("least"))
        books[f"electrical_energy_{name}_defrost_kwh"] = where((mode == name) & defrost, electrical)
        books[f"thermal_energy_{name}_defrost_kwh"] = where((mode == name) & defrost, thermal)
    for name in ("heating", "dhw", "cooling", "standby"):
        books[f"{name}_s"] = where(mode == name, pl.col("span"))
    booked = rows.with_columns(
        **{name: amount.cast(pl.Int64) for name, amount in books.items()},
        **{f"{kind}_energy_unobserved_kwh": pl.lit(None, pl.Int64) for kind in _BOTH},
    )
    unknown = [
        pl.when(pl.col("electrical_s" if name.startswith("electrical") and "least" not in name else "thermal_s") > 0)
        .then(name)
        .alias(name)
        for name in ENERGIES
        if name in books and not name.startswith(("electrical_energy_immersion", "electrical_energy_backup"))
    ]
    return booked.with_columns(unknown).drop(
        "piece", "electrical", "thermal", "immersion", "backup", "span", "least",
    )  # fmt: skip


def merge(rows: pl.DataFrame, by: str | None, *keep: pl.Expr) -> pl.DataFrame:
    """Add rows in the exact form, per heat pump and group of `by`; `keep` says what else of a group is wanted.

    Groups come in the order of their first `start`.
    """
    added = [name for name in [*ENERGIES, *DURATIONS, *COUNTS, *MEANS] if name in rows.columns]
    return (
        rows.sort("start")
        .group_by(["heat_pump", *([by] if by else [])], maintain_order=True)
        .agg(
            *(known_sum(pl.col(name)).alias(name) for name in added),
            pl.col(*METHODS).bitwise_or(),
            *(pl.col(name).first() for name in _BEGINS if name in rows.columns),
            *(pl.col(name).last() for name in _ENDS if name in rows.columns),
            *(pl.col(f"{name}_min").min() for name in summary_signals()),
            *(pl.col(f"{name}_max").max() for name in summary_signals()),
            *(pl.col(f"{name}_first").drop_nulls().first() for name in summary_signals()),
            *(pl.col(f"{name}_last").drop_nulls().last() for name in summary_signals()),
            *keep,
        )
    )


_WORDS_OF = {bits: words for bits, words in enumerate(WORDS) if words}
_BITS_OF = {words: bits for bits, words in _WORDS_OF.items()}


def exact(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows as they are shown and stored → the exact form, so that they can be merged."""
    return rows.with_columns(
        *((pl.col(name) * pl.col(f"{name.removesuffix('_mean')}_s") * _US_PER_S).alias(name) for name in MEANS),
        *((pl.col(name) * _MJ_PER_KWH).alias(name) for name in _in_kwh(rows)),
        *((pl.col(name) * _US_PER_S).alias(name) for name in DURATIONS),
        pl.col(*METHODS).replace_strict(_BITS_OF, default=None, return_dtype=pl.Int64),
    ).with_columns(pl.col([*MEANS, *_in_kwh(rows), *DURATIONS]).round().cast(pl.Int64))


def _in_kwh(rows: pl.DataFrame) -> list[str]:
    return [*ENERGIES, *(name for name in EDGE_ERRORS if name in rows.columns)]


def in_units(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows in the exact form → kWh, seconds and means; the ratios are still missing."""
    weighted = [
        pl.when(pl.col(f"{name.removesuffix('_mean')}_s") > 0)
        .then(pl.col(name) / pl.col(f"{name.removesuffix('_mean')}_s"))
        .alias(name)
        for name in MEANS
    ]
    words = pl.col(*METHODS).replace_strict(_WORDS_OF, default=None, return_dtype=pl.String)
    return rows.with_columns(*weighted, words).with_columns(
        *(divided(pl.col(name), _MJ_PER_KWH).alias(name) for name in _in_kwh(rows)),
        *(divided(pl.col(name), _US_PER_S).alias(name) for name in DURATIONS),
    )


def shown(rows: pl.DataFrame, rules: Rules, known: Known) -> pl.DataFrame:
    """Rows in the exact form with `start` and `end` → units that people read, with the ratios."""
    return with_ratios(in_units(rows), elapsed_s(known), rules)


def _least(rules: Rules) -> pl.Expr:
    """The least electricity (mJ) for the heat that a frame gave; the source is what the machine draws from, else the
    outdoor air."""
    source = pl.coalesce("source_in_temperature", "outdoor_temperature")
    share = carnot_share(pl.col("flow_temperature"), source, rules)
    return (pl.col("thermal").clip(0) * share).round().cast(pl.Int64)


def with_ratios(rows: pl.DataFrame, elapsed_s: pl.Expr, rules: Rules) -> pl.DataFrame:
    """Add coverages and COPs. A ratio is made of sums, never of ratios, and only where the data bear it.

    `cop_reason` says why there is none: no electricity or heat known, coverage too low or unlike for both, mostly
    counted over a silence that goes on beyond the row, too little electricity, no heat, a band that reaches down to 0,
    or more heat than Carnot allows. The other COPs are null for the same reasons; those of one mode have nothing that
    was counted over silences.
    """
    covered = {
        part: (pl.col(f"{part}_s") / pl.col("elapsed")).clip(0, 1)
        for part in ("electrical", "thermal", *METERED_APART_PARTS)
    }
    rows = rows.with_columns(elapsed=elapsed_s).with_columns(
        electrical_coverage=covered["electrical"], thermal_coverage=covered["thermal"]
    )
    electrical = pl.col("electrical_energy_kwh") - pl.col("electrical_energy_cooling_kwh").fill_null(0)
    thermal = pl.col("thermal_energy_kwh")
    silence = pl.when(pl.col("observed_s") <= 0, pl.any_horizontal(pl.col(f"{kind}_s") > 0 for kind in _BOTH)).then(
        pl.lit("only counted, over a silence")
    )
    coverages = pl.col("electrical_coverage"), pl.col("thermal_coverage")
    told = [pl.when(pl.col("electrical_s") > 0).then(electrical), pl.when(pl.col("thermal_s") > 0).then(thermal)]
    lack = pl.coalesce(silence, unknown(told[0], told[1], *coverages, rules))
    unused = pl.when(pl.col("heating_s") + pl.col("dhw_s") <= 0).then(pl.lit("neither heating nor hot water in it"))
    # What was counted over a silence was given at temperatures that nobody knows.
    silent = divided(pl.col("thermal_energy_unobserved_kwh").fill_null(0).clip(0), rules.maximum_cop)
    least = {part: pl.col(f"electrical_energy_least{part}_kwh").fill_null(0) for part in ("", "_heating", "_dhw")}
    rows = rows.with_columns(lack=lack, unplaced=_unplaced(rows, rules), least=least[""] + silent)
    least[""] = pl.col("least")
    parts = {
        name: (pl.col(f"thermal_energy{name}_kwh"), pl.col(f"electrical_energy{name}_kwh"))
        for name in ("_heating", "_dhw", "_defrost", "_heating_defrost", "_dhw_defrost")
    }
    uses = {"": (thermal, electrical), "_heating": parts["_heating"], "_dhw": parts["_dhw"]}
    rows = rows.with_columns(**_of_kind("electrical", rows, rules), **_of_kind("thermal", rows, rules))
    rows = rows.with_columns(_is_blurred(*uses[use], rules, bool(use)).alias(f"blurred{use}") for use in uses)
    rows = rows.with_columns(
        cop_reason=pl.coalesce(
            "lack", unused, "unplaced", _too_coarse(pl.col("blurred")), not_borne(thermal, electrical, least[""], rules)
        )
    )

    def ratio(heat: pl.Expr, power: pl.Expr, use: str = "") -> pl.Expr:
        is_told = pl.col("lack").is_null() & ~pl.col(f"blurred{use}")
        if not use:
            is_told &= pl.col("unplaced").is_null()
        return pl.when(is_told & is_borne(heat, power, least[use], rules)).then(heat / power)

    immersion = pl.col("electrical_energy_immersion_kwh").fill_null(0)
    if "immersion_heater" in rules.metering.apart:
        immersion = pl.when(_apart_reason("immersion", covered, rules).is_null()).then(immersion)
    dhw_heat, dhw_power = parts["_dhw"]
    boundaries, why = spf_columns(rules.metering)
    shown = rows.with_columns(
        cop=pl.when(pl.col("cop_reason").is_null()).then(thermal / electrical),
        cop_heating=ratio(*parts["_heating"], "_heating"),
        cop_dhw=ratio(*parts["_dhw"], "_dhw"),
        cop_without_defrost=ratio(thermal - parts["_defrost"][0], electrical - parts["_defrost"][1]),
        cop_heating_without_defrost=ratio(
            parts["_heating"][0] - parts["_heating_defrost"][0],
            parts["_heating"][1] - parts["_heating_defrost"][1],
            "_heating",
        ),
        cop_dhw_without_defrost=ratio(
            dhw_heat - parts["_dhw_defrost"][0], dhw_power - parts["_dhw_defrost"][1], "_dhw"
        ),
        cop_without_standby=ratio(parts["_heating"][0] + parts["_dhw"][0], parts["_heating"][1] + parts["_dhw"][1]),
        cop_gross=ratio(thermal + pl.col("heat_taken_kwh").fill_null(0), electrical),
        **_boundaries(rules, boundaries, why, least[""], covered),
        cop_with_immersion=ratio(thermal + immersion, electrical + immersion),
        cop_dhw_with_immersion=ratio(dhw_heat + immersion, dhw_power + immersion, "_dhw"),
    )
    banded = {f"cop{use}": energies for use, energies in uses.items()}
    banded |= {name: (terms.heat, terms.electricity) for name, terms in boundaries.items()}
    return _with_bands(shown, rules, banded).drop(
        "elapsed", "lack", "unplaced", "least", *(f"blurred{use}" for use in uses)
    )


def _is_blurred(heat: pl.Expr, power: pl.Expr, rules: Rules, of_mode: bool = False) -> pl.Expr:
    """Whether the band around a ratio of these energies (of one mode, or of all) reaches down to 0: it says nothing
    then, whatever it is."""
    there = (heat > 0) & (power >= rules.minimum_electrical_energy_kwh)
    low, _ = ratio_band(_error("thermal", heat, of_mode), _error("electrical", power, of_mode))
    return (there & (low <= 0)).fill_null(False)


def _unplaced(rows: pl.DataFrame, rules: Rules) -> pl.Expr:
    """Why there is no `cop` where a silence goes on beyond a row, and more than `maximum_unplaced_share` of its
    electricity or heat was counted over silences or may lie beyond its edges; null where there is no such silence."""
    found = pl.lit(False)
    for kind in _BOTH:
        edges = [pl.col(name).fill_null(0) for name in EDGE_ERRORS if name.startswith(kind) and name in rows.columns]
        beyond = pl.sum_horizontal(pl.lit(0.0), *edges)
        counted = pl.max_horizontal(beyond, pl.col(f"{kind}_energy_unobserved_kwh").fill_null(0).abs())
        most = rules.maximum_unplaced_share * pl.col(f"{kind}_energy_kwh").abs()
        found |= ((beyond > 0) & (counted > most)).fill_null(False)
    return pl.when(found).then(pl.lit("mostly counted over a silence that goes on beyond it"))


def _too_coarse(is_blurred: pl.Expr) -> pl.Expr:
    """Why there is no ratio where it `_is_blurred`; null where it is not."""
    return pl.when(is_blurred).then(
        pl.lit("known too coarsely: steps of counters and times between readings hide as much")
    )


def _apart_reason(part: str, covered: Mapping[str, pl.Expr], rules: Rules) -> pl.Expr:
    """Why the energy of a consumer with a meter of its own cannot be set against the heat pump's; null where it can."""
    share, words = covered[part], METERED_APART_PARTS[part]
    unlike = (share - pl.col("electrical_coverage")).abs() > rules.maximum_coverage_mismatch
    return (
        pl.when(share.fill_null(0) <= 0)
        .then(pl.lit(f"the meter of the {words} tells nothing"))
        .when((share < rules.minimum_coverage) | unlike)
        .then(pl.format("the meter of the {} is known for only {} % of the time", pl.lit(words), percent(share)))
    )


def _boundaries(
    rules: Rules, told: Mapping[str, Ratio], why: str | None, least: pl.Expr, covered: Mapping[str, pl.Expr]
) -> dict[str, pl.Expr]:
    """SPF H1 to H4 as far as the meters allow and the data bear them, and why the others are missing."""
    spf, reasons = {}, [] if why is None else [pl.lit(why)]
    for name, terms in told.items():
        missing = pl.coalesce(
            "cop_reason",
            *(_apart_reason(part, covered, rules) for part in terms.apart),
            _too_coarse(_is_blurred(terms.heat, terms.electricity, rules)),
            not_borne(terms.heat, terms.electricity, least, rules),
        )
        spf[name] = pl.when(missing.is_null()).then(terms.heat / terms.electricity)
        reasons.append(pl.format("{}: {}", pl.lit(name.removeprefix("spf_").upper()), missing))
    listed = pl.concat_str(reasons, separator="; ", ignore_nulls=True) if reasons else pl.lit(None, pl.String)
    reason = pl.coalesce("cop_reason", pl.when(listed != "").then(listed))
    return {**{f"spf_h{number}": pl.lit(None, pl.Float64) for number in BOUNDARIES}, **spf, "spf_reason": reason}


def _edges(rows: pl.DataFrame) -> pl.Expr:
    """The squares of the times (s²) between readings at the edges of rows. That at which an event ends is the first of
    what follows it, and as uncertain as the one at which it begins."""
    edges = pl.col("edge_uncertainty_s2")
    return edges + pl.col("end_unread_s").fill_null(0) ** 2 if "end_unread_s" in rows.columns else edges


def _with_bands(rows: pl.DataFrame, rules: Rules, ratios: Mapping[str, tuple[pl.Expr, pl.Expr]]) -> pl.DataFrame:
    """Add the bands around electricity, heat and each of the ratios (heat, electricity); that of `cop` ends where
    Carnot does. The rows have what `_of_kind` makes for both, which is taken away.

    The parts of an energy are off as its whole is: by the same share for the meter and by the same amount for its steps
    and for the edges; but those of one mode have nothing of a silence in which nothing was read, nor of its edges.
    """
    bands: dict[str, pl.Expr] = {}
    for kind in _BOTH:
        whole = _error(kind, pl.col(f"{kind}_energy_kwh"))
        bands |= {f"{kind}_energy_low_kwh": whole.low, f"{kind}_energy_high_kwh": whole.high}
    for name, (heat, power) in ratios.items():
        of_mode = name in {"cop_heating", "cop_dhw"}
        low, high = ratio_band(_error("thermal", heat, of_mode), _error("electrical", power, of_mode))
        shown = pl.when(pl.col(name).is_not_null())
        limit = pl.when(pl.col("least") > 0).then(heat / pl.col("least")) if name == "cop" else pl.lit(None, pl.Float64)
        bands[f"{name}_low"] = shown.then(low)
        bands[f"{name}_high"] = shown.then(pl.min_horizontal(high, limit, rules.maximum_cop))
    untold = {f"spf_h{number}_{end}": pl.lit(None, pl.Float64) for number in BOUNDARIES for end in ("low", "high")}
    return rows.with_columns(**untold | bands).drop(f"{kind} {what}" for kind in _BOTH for what in _OF_KIND)


_OF_KIND = ("error", "fixed", "fixed_of_mode", "lacking", "most", "surplus")


def _of_kind(kind: str, rows: pl.DataFrame, rules: Rules) -> dict[str, pl.Expr]:
    """What the errors of all parts of a kind of energy are made of, by column."""
    whole, method, runs_s = pl.col(f"{kind}_energy_kwh"), pl.col(f"{kind}_method"), pl.col("compressor_s")
    quanta = rules.metering.quanta_kwh.get(kind, {})
    steps = [
        pl.when(method.str.contains(word, literal=True)).then(quanta.get(word, 0.0)).otherwise(0.0)
        for word in (METER_COUNTER, DEVICE_COUNTER)
    ]
    # Whatever is no counter knows an edge only as well as it is sampled.
    sampled = ~method.is_in(COUNTED).fill_null(False)
    power = pl.when(runs_s > 0).then(whole.abs() / runs_s).otherwise(0.0)
    coverage = pl.col(f"{kind}_coverage")
    edges = pl.when(sampled).then(power**2 * _edges(rows)).fill_null(0.0)
    of_mode, unobserved = edges, pl.col(f"{kind}_energy_unobserved_kwh").fill_null(0.0).abs()
    for name in EDGE_ERRORS:
        if name.startswith(kind) and name in rows.columns:
            edges += pl.col(name).fill_null(0.0) ** 2
            # What was counted while nothing was read is never less than what of it may lie beyond an edge.
            of_mode += (pl.col(name).fill_null(0.0) - unobserved).clip(0) ** 2
    step = pl.max_horizontal(steps).fill_null(0.0)
    made = {
        "error": pl.when(whole != 0).then(pl.col(f"{kind}_meter_error_kwh") / whole.abs()).fill_null(0.0),
        "fixed": fixed_deviation(step, edges),
        "fixed_of_mode": fixed_deviation(step, of_mode),
        "lacking": pl.when(coverage > 0).then(1 / coverage - 1).fill_null(0.0),
        "most": pl.min_horizontal(2.0, pl.col(f"{kind}_s") / runs_s).clip(1.0),
        "surplus": power * pl.col("defrost_unmeasured_s") if kind == "thermal" else pl.lit(0.0),
    }
    return {f"{kind} {what}": made[what] for what in _OF_KIND}


def _error(kind: str, part: pl.Expr, of_mode: bool = False) -> Error:
    error, fixed, fixed_of_mode, lacking, most, surplus = (pl.col(f"{kind} {what}") for what in _OF_KIND)
    return Error(part, part.abs() * error, fixed_of_mode if of_mode else fixed, part.abs() * lacking, most, surplus)
