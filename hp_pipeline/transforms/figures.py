"""The figures of any stretch of time: energies, durations, counts, statistics and the ratios made of them.

All tables of figures (hours to years, sessions, cycles, defrosts) have the same columns and come from the same three
steps: `pieces` (per frame, summed over the smallest stretches of one mode, state and hour), `merge` (add rows), and
`shown` (to the units that people read). Between them, sums are whole numbers in the *exact* form: energies in
millijoules, durations in microseconds, a mean as value times microseconds; the ways to an energy are a set of bits.
Whole numbers add to the same sum, and bits to the same set, in any order and any grouping, so a month is the merge of
its days to the last bit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import polars as pl

from hp_pipeline.transforms.boundaries import ImmersionHeater, immersion_heater, spf_columns
from hp_pipeline.transforms.division import divided
from hp_pipeline.transforms.energy import WAYS_OF, first_of
from hp_pipeline.transforms.floors import (
    ABOVE_CARNOT,
    ABSORBED_SHARE,
    Known,
    carnot_share,
    elapsed_s,
    is_borne,
    is_impossible,
    not_borne,
    percent,
    unknown,
)
from hp_pipeline.transforms.sums import MJ_PER_KWH, known_sum
from hp_pipeline.transforms.uncertainty import Apart, Error, fixed_deviation, permissible_error, ratio_band
from hp_pipeline.vocabulary.boundaries import BOUNDARIES, METERED_APART, Metering
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

_US_PER_S = 1_000_000

FRAME_COLUMNS = [
    *("heat_pump", "start", "end", "states_read", "changed_after"),
    "three_way_valve",
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
        "thermal_meter_error_kwh": where(mode.ne_missing("cooling"), pl.col("thermal_meter_error_kwh")),
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
        books[f"thermal_meter_error_{name}_kwh"] = where(mode == name, pl.col("thermal_meter_error_kwh"))
        books[f"electrical_energy_{name}_defrost_kwh"] = where((mode == name) & defrost, electrical)
        books[f"thermal_energy_{name}_defrost_kwh"] = where((mode == name) & defrost, thermal)
    for name in ("heating", "dhw", "cooling", "standby"):
        books[f"{name}_s"] = where(mode == name, pl.col("span"))
    for kind in _BOTH:
        books[f"{kind}_cooling_s"] = where(mode == "cooling", pl.col(f"{kind}_s"))
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
        *((pl.col(name) * MJ_PER_KWH).alias(name) for name in _in_kwh(rows)),
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
        *(divided(pl.col(name), MJ_PER_KWH).alias(name) for name in _in_kwh(rows)),
        *(divided(pl.col(name), _US_PER_S).alias(name) for name in DURATIONS),
    )


def shown(rows: pl.DataFrame, rules: Rules, known: Known) -> pl.DataFrame:
    """Rows in the exact form with `start` and `end` → units that people read, with the ratios."""
    return with_ratios(in_units(rows), elapsed_s(known), rules)


def _least(rules: Rules) -> pl.Expr:
    """The least electricity (mJ) for the heat that a frame gave, without that of electric heaters as far as they have a
    meter of their own; the source is what the machine draws from, else the outdoor air."""
    source = pl.coalesce("source_in_temperature", "outdoor_temperature")
    share = carnot_share(pl.col("flow_temperature"), source, rules)
    heat = pl.col("thermal") - of_heaters("thermal", rules.metering)
    return (heat.clip(0) * share).round().cast(pl.Int64)


def of_heaters(kind: str, metering: Metering) -> pl.Expr:
    """What of an energy of `energy.Energies.of_frames` (mJ) electric heaters are known to have given or used."""
    return pl.sum_horizontal(
        pl.lit(0, pl.Int64), *(pl.col(_HEATERS[name]).fill_null(0) for name in metering.heaters_in(kind))
    )


_HEATERS = {"backup_heater": "backup", "immersion_heater": "immersion"}
"""Of each electric heater the column of `energy.Energies.of_frames` with its energy."""


def with_ratios(rows: pl.DataFrame, elapsed_s: pl.Expr, rules: Rules) -> pl.DataFrame:
    """Add coverages and COPs. A ratio is made of sums, never of ratios, and only where the data bear it.

    What cooling used or took is null where nothing is known of it.

    `cop_reason` says why there is none: no electricity or heat known, coverage too low or unlike for both, mostly
    counted over a silence that goes on beyond the row, too little electricity, no heat, a band that reaches down to 0,
    or more heat than Carnot allows, also of one use alone (`ABSORBED_SHARE`). `cop_uses_reason` says it of each use,
    which has nothing that was counted over silences. The other COPs are null for the same reasons.
    """
    covered = {
        part: (pl.col(f"{part}_s") / pl.col("elapsed")).clip(0, 1)
        for part in ("electrical", "thermal", *METERED_APART_PARTS)
    }
    cooled_s, *known_cooled_s = (
        pl.col(name).fill_null(0) for name in ("cooling_s", *(f"{kind}_cooling_s" for kind in _BOTH))
    )
    unknown_cold = {kind: (cooled_s > 0) & (known <= 0) for kind, known in zip(_BOTH, known_cooled_s, strict=True)}
    rows = rows.with_columns(elapsed=elapsed_s).with_columns(
        *(
            pl.when(~unknown_cold[kind]).then(f"{kind}_energy_cooling_kwh").alias(f"{kind}_energy_cooling_kwh")
            for kind in _BOTH
        ),
        electrical_coverage=covered["electrical"],
        thermal_coverage=covered["thermal"],
    )
    electrical = pl.col("electrical_energy_kwh") - pl.col("electrical_energy_cooling_kwh").fill_null(0)
    thermal = pl.col("thermal_energy_kwh")
    silence = pl.when(pl.col("observed_s") <= 0, pl.any_horizontal(pl.col(f"{kind}_s") > 0 for kind in _BOTH)).then(
        pl.lit("only counted, over a silence")
    )
    # No COP is asked of the time of cooling, whether anything is known of it or not.
    uncooled = pl.when(pl.col("elapsed") > cooled_s).then(pl.col("elapsed") - cooled_s)
    electrical_share, thermal_share = (
        ((pl.col(f"{kind}_s") - known) / uncooled).clip(0, 1) for kind, known in zip(_BOTH, known_cooled_s, strict=True)
    )
    told = [pl.when(pl.col("electrical_s") > 0).then(electrical), pl.when(pl.col("thermal_s") > 0).then(thermal)]
    lack = pl.coalesce(silence, unknown(told[0], told[1], electrical_share, thermal_share, rules))
    unused = pl.when(_is_idle(rules)).then(pl.lit("neither heating nor hot water in it"))
    # What was counted over a silence was given at temperatures that nobody knows.
    silent = divided(pl.col("thermal_energy_unobserved_kwh").fill_null(0).clip(0), rules.maximum_cop)
    least = {part: pl.col(f"electrical_energy_least{part}_kwh").fill_null(0) for part in ("", "_heating", "_dhw")}
    rows = rows.with_columns(lack=lack, unplaced=_unplaced(rows, rules), least=least[""] + silent)
    least[""] = pl.col("least")
    parts = {
        name: (pl.col(f"thermal_energy{name}_kwh"), pl.col(f"electrical_energy{name}_kwh"))
        for name in ("_heating", "_dhw", "_defrost", "_heating_defrost", "_dhw_defrost")
    }
    rows = rows.with_columns(**_of_kind("electrical", rows, rules), **_of_kind("thermal", rows, rules))
    uses = {use: _Sides.of(*parts[use], least[use], pl.col(f"thermal_meter_error{use}_kwh")) for use in _USES}
    uses[""] = _Sides.of(thermal, electrical, least[""])
    rows = rows.with_columns(_is_blurred(uses[use], rules).alias(f"blurred{use}") for use in uses)
    impossible = _one_of_each({use: _absorbed(use, uses[use], thermal, rules) for use in _USES})
    rows = rows.with_columns(impossible=pl.when(pl.col("lack").is_null()).then(impossible)).with_columns(
        cop_reason=pl.coalesce(
            "lack",
            unused,
            "unplaced",
            _too_coarse(pl.col("blurred")),
            not_borne(thermal, electrical, least[""], rules),
            "impossible",
        ),
        cop_uses_reason=pl.coalesce(
            "lack", _one_of_each({use: _reason_of_use(use, uses[use], rules) for use in _USES})
        ),
    )

    def ratio(heat: pl.Expr, power: pl.Expr, use: str = "") -> pl.Expr:
        is_told = pl.col("lack").is_null() & ~pl.col(f"blurred{use}")
        if not use:
            is_told &= pl.col("impossible").is_null() & pl.col("unplaced").is_null()
        return pl.when(is_told & is_borne(heat, power, least[use], rules)).then(heat / power)

    rod = immersion_heater(rules.metering)
    rod_heat, rod_power = _immersion(rod, covered, rules)
    dhw_heat, dhw_power = parts["_dhw"]
    used_heat, used_power = (parts["_heating"][side] + parts["_dhw"][side] for side in (0, 1))
    gross = thermal + pl.col("heat_taken_kwh").fill_null(0)
    dhw_with_rod = ratio(dhw_heat + rod_heat, dhw_power + rod_power, "_dhw")
    boundaries, why = spf_columns(rules.metering)
    banded = {f"cop{use}": sides for use, sides in uses.items()}
    banded["cop_without_standby"] = _Sides.of(
        used_heat, used_power, least[""], pl.sum_horizontal([f"thermal_meter_error{use}_kwh" for use in _USES])
    )
    banded["cop_gross"] = _Sides.of(gross, electrical, least[""]).without_surplus()
    banded["cop_with_immersion"] = (
        uses[""]
        .with_apart({"immersion": (int(rod.thermal), int(rod.electrical))}, rules)
        .giving(thermal + rod_heat, electrical + rod_power)
    )
    for name, terms in boundaries.items():
        banded[name] = uses[""].with_apart(terms.apart, rules).giving(terms.heat, terms.electricity)
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
        cop_without_standby=ratio(used_heat, used_power),
        cop_gross=ratio(gross, electrical),
        **_boundaries(rules, {name: (banded[name], terms.apart) for name, terms in boundaries.items()}, why, covered),
        cop_with_immersion=ratio(thermal + rod_heat, electrical + rod_power),
        # Of what a meter of the heat pump includes of it nobody tells how much lies in the mode dhw already.
        cop_dhw_with_immersion=dhw_with_rod if rod.electrical and rod.thermal else pl.lit(None, pl.Float64),
    )
    return _with_bands(shown, rules, banded).drop(
        "elapsed", "lack", "unplaced", "least", "impossible", *(f"blurred{use}" for use in uses)
    )


_USES = ("_heating", "_dhw")


@dataclass(frozen=True)
class _Sides:
    """The two sides of a ratio with what they may be off by, and the least electricity (kWh) that its heat needs."""

    heat: Error
    electricity: Error
    least: pl.Expr
    apart: tuple[Apart, ...] = ()

    @classmethod
    def of(cls, heat: pl.Expr, electricity: pl.Expr, least: pl.Expr, meter: pl.Expr | None = None) -> _Sides:
        """Of parts of the energies; `meter` is the permissible error of that heat where it is known of it alone, as of
        modes."""
        if meter is None:
            return cls(_error("thermal", heat), _error("electrical", electricity), least)
        of_heat = replace(_error("thermal", heat, of_mode=True), meter=meter.fill_null(0))
        return cls(of_heat, _error("electrical", electricity, of_mode=True), least)

    def without_surplus(self) -> _Sides:
        """Where it does not matter what defrosts took."""
        return replace(self, heat=replace(self.heat, surplus=pl.lit(0.0)))

    def with_apart(self, signs: Mapping[str, tuple[int, int]], rules: Rules) -> _Sides:
        """With consumers added or taken off by their own meters: their signs in heat and in electricity."""
        meters = []
        for part, (in_heat, in_electricity) in signs.items():
            column = f"electrical_energy_{part}_kwh"
            share = rules.metering.apart_error(_CONSUMER_OF[column]).at_plate
            meters.append(Apart(pl.col(column).fill_null(0).abs() * share, in_heat, in_electricity))
        return replace(self, apart=tuple(meters))

    def giving(self, heat: pl.Expr, electricity: pl.Expr) -> _Sides:
        """What is left, or comes to, with them: the main meters are off by what they are off by without."""
        return replace(
            self,
            heat=replace(self.heat, energy=heat, lacking=_lacking("thermal", heat)),
            electricity=replace(self.electricity, energy=electricity, lacking=_lacking("electrical", electricity)),
        )

    @property
    def band(self) -> tuple[pl.Expr, pl.Expr]:
        """The band around the ratio."""
        return ratio_band(self.heat, self.electricity, self.apart)


_CONSUMER_OF = {column: consumer for consumer, (_, column) in METERED_APART.items()}


def _immersion(rod: ImmersionHeater, covered: Mapping[str, pl.Expr], rules: Rules) -> tuple[pl.Expr, pl.Expr]:
    """The heat and the electricity (kWh) that the immersion heater adds to the heat pump's; null where not known."""
    amount = pl.col("electrical_energy_immersion_kwh").fill_null(0)
    if rod.is_metered:
        amount = pl.when(_apart_reason("immersion", covered, rules).is_null()).then(amount)
    elif not rod.is_known:
        amount = pl.lit(None, pl.Float64)
    return (amount if rod.thermal else pl.lit(0.0)), (amount if rod.electrical else pl.lit(0.0))


def _is_idle(rules: Rules) -> pl.Expr:
    """Whether what is known of the modes says that there was neither heating nor hot water."""
    return (pl.col("heating_s") + pl.col("dhw_s") <= 0) & ~_is_of_unknown_mode(rules)


def _is_of_unknown_mode(rules: Rules) -> pl.Expr:
    """Whether most of the heat was given in a mode that nobody knows, which may have been heating or hot water."""
    standby = pl.col("thermal_energy_standby_kwh").fill_null(0)
    known = [standby, *(pl.col(f"thermal_energy_{part}_kwh").fill_null(0) for part in ("heating", "dhw", "unobserved"))]
    unknown_kwh = pl.col("thermal_energy_kwh").fill_null(0) - pl.sum_horizontal(known)
    return unknown_kwh > pl.max_horizontal(standby, rules.minimum_electrical_energy_kwh)


def _is_blurred(sides: _Sides, rules: Rules) -> pl.Expr:
    """Whether the band around a ratio reaches down to 0: it says nothing then, whatever it is."""
    there = (sides.heat.energy > 0) & (sides.electricity.energy >= rules.minimum_electrical_energy_kwh)
    low, _ = sides.band
    return (there & (low <= 0)).fill_null(False)


def _reason_of_use(use: str, sides: _Sides, rules: Rules) -> pl.Expr:
    """Why one use has no ratio; null where it has one."""
    reason = pl.coalesce(
        _too_coarse(pl.col(f"blurred{use}")),
        not_borne(sides.heat.energy, sides.electricity.energy, sides.least, rules),
    )
    is_absent = reason.is_not_null() & (pl.col(f"{use.removeprefix('_')}_s") <= 0)
    is_unknown = is_absent & _is_of_unknown_mode(rules)
    return (
        pl.when(is_unknown)
        .then(pl.lit("the mode of its heat is not known"))
        .when(is_absent)
        .then(pl.lit("not in it"))
        .otherwise(reason)
    )


def _absorbed(use: str, sides: _Sides, whole: pl.Expr, rules: Rules) -> pl.Expr:
    """Why the whole has no ratio where the heat of one use is impossible and no small share of all heat."""
    heat = sides.heat.energy
    is_told = is_impossible(heat, sides.electricity.energy, sides.least, rules) & ~pl.col(f"blurred{use}")
    return pl.when(is_told & (heat >= ABSORBED_SHARE * whole)).then(pl.lit(ABOVE_CARNOT))


def _one_of_each(reasons: Mapping[str, pl.Expr]) -> pl.Expr:
    """What there is to say of each use or boundary, named by its word; null where there is nothing."""
    named = [pl.format("{}: {}", pl.lit(word.removeprefix("_")), reason) for word, reason in reasons.items()]
    listed = pl.concat_str(named, separator="; ", ignore_nulls=True)
    return pl.when(listed != "").then(listed)


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
    rules: Rules,
    told: Mapping[str, tuple[_Sides, Iterable[str]]],
    why: str | None,
    covered: Mapping[str, pl.Expr],
) -> dict[str, pl.Expr]:
    """SPF H1 to H4 as far as the meters allow and the data bear them, and why the others are missing."""
    spf, reasons = {}, [] if why is None else [pl.lit(why)]
    for name, (sides, apart) in told.items():
        heat, electricity = sides.heat.energy, sides.electricity.energy
        missing = pl.coalesce(
            "cop_reason",
            *(_apart_reason(part, covered, rules) for part in apart),
            _too_coarse(_is_blurred(sides, rules)),
            not_borne(heat, electricity, sides.least, rules),
        )
        spf[name] = pl.when(missing.is_null()).then(heat / electricity)
        reasons.append(pl.format("{}: {}", pl.lit(name.removeprefix("spf_").upper()), missing))
    listed = pl.concat_str(reasons, separator="; ", ignore_nulls=True) if reasons else pl.lit(None, pl.String)
    reason = pl.coalesce("cop_reason", pl.when(listed != "").then(listed))
    return {**{f"spf_h{number}": pl.lit(None, pl.Float64) for number in BOUNDARIES}, **spf, "spf_reason": reason}


def _edges(rows: pl.DataFrame) -> pl.Expr:
    """The squares of the times (s²) between readings at the edges of rows. That at which an event ends is the first of
    what follows it, and as uncertain as the one at which it begins."""
    edges = pl.col("edge_uncertainty_s2")
    return edges + pl.col("end_unread_s").fill_null(0) ** 2 if "end_unread_s" in rows.columns else edges


def _with_bands(rows: pl.DataFrame, rules: Rules, ratios: Mapping[str, _Sides]) -> pl.DataFrame:
    """Add the bands around electricity, heat and each of the ratios, which end where Carnot does. The rows have what
    `_of_kind` makes for both, which is taken away.

    The parts of an energy are off as its whole is: by the same share for the meter, where that is not known of the part
    alone, and by the same amount for its steps and for the edges; but those of one mode have nothing of a silence in
    which nothing was read, nor of its edges.
    """
    bands: dict[str, pl.Expr] = {}
    for kind in _BOTH:
        whole = _error(kind, pl.col(f"{kind}_energy_kwh"))
        bands |= {f"{kind}_energy_low_kwh": whole.low, f"{kind}_energy_high_kwh": whole.high}
    for name, sides in ratios.items():
        low, high = sides.band
        shown = pl.when(pl.col(name).is_not_null())
        limit = pl.when(sides.least > 0).then(sides.heat.energy / sides.least)
        bands[f"{name}_low"] = shown.then(low)
        bands[f"{name}_high"] = shown.then(pl.min_horizontal(high, limit, rules.maximum_cop))
    untold = {f"spf_h{number}_{end}": pl.lit(None, pl.Float64) for number in BOUNDARIES for end in ("low", "high")}
    return rows.with_columns(**untold | bands).drop(f"{kind} {what}" for kind in _BOTH for what in _OF_KIND)


_OF_KIND = ("error", "fixed", "fixed_of_mode", "lacking", "most", "surplus")


def _of_kind(kind: str, rows: pl.DataFrame, rules: Rules) -> dict[str, pl.Expr]:
    """What the errors of all parts of a kind of energy are made of, by column."""
    whole, method, runs_s = pl.col(f"{kind}_energy_kwh"), pl.col(f"{kind}_method"), pl.col("compressor_s")
    if kind == "thermal":
        # Cooling is in the electricity, not in the heat: the power of heat is that of the time that gave it.
        used_s = pl.min_horizontal(runs_s, pl.col("heating_s") + pl.col("dhw_s"))
        runs_s = pl.when(pl.col("cooling_s") > 0).then(used_s).otherwise(runs_s)
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
    error, fixed, fixed_of_mode, _, most, surplus = (pl.col(f"{kind} {what}") for what in _OF_KIND)
    return Error(part, part.abs() * error, fixed_of_mode if of_mode else fixed, _lacking(kind, part), most, surplus)


def _lacking(kind: str, part: pl.Expr) -> pl.Expr:
    """What the time without readings had of a part of an energy if it was as the time known."""
    return part.abs() * pl.col(f"{kind} lacking")
