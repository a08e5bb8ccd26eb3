"""SPF H1 to H4 side by side, as far as the meters allow.

What a meter includes is stated in the settings. A boundary's electricity is the heat pump's, less what lies outside of
the boundary and has a meter of its own, plus what lies inside and is metered apart; the same for heat, where only the
electric heaters come into question, whose heat equals their electricity. Where a meter is missing the figure is null,
and its reason names the consumer: figures of unlike boundaries are never passed off as each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import polars as pl

from hp_pipeline.vocabulary.boundaries import BOUNDARIES, BOUNDARY_OF, HEATERS, Metering


@dataclass(frozen=True)
class Terms:
    """What an energy of a boundary is made of: columns with their signs. Not computable when there is a reason."""

    electrical: Mapping[str, int]
    thermal: Mapping[str, int]
    reason: str | None = None


def terms(boundary: int, metering: Metering) -> Terms:
    """The energies of a boundary (1 to 4) by columns of the figures, or why they cannot be had."""
    if metering.electrical is None:
        return Terms({}, {}, "the settings do not say what the electricity includes")
    if metering.thermal is None:
        return Terms({}, {}, "the settings do not say what the heat includes")
    inside = {name for name in metering.installed if BOUNDARY_OF[name] <= boundary}
    electrical, missing = _signed(metering.electrical, inside, metering.apart)
    if missing:
        return Terms({}, {}, f"no meter of its own: {_words(missing)}")
    sources = {"compressor", *(name for name in HEATERS if name in inside)}
    thermal, missing = _signed(metering.thermal, sources, metering.apart)
    if missing:
        return Terms({}, {}, f"heat without a meter of its own: {_words(missing)}")
    return Terms({"electrical": 1, **electrical}, {"thermal": 1, **thermal})


def _signed(measured: Iterable[str], wanted: set[str], apart: Mapping[str, str]) -> tuple[dict[str, int], set[str]]:
    """Columns to add and to take away, and the consumers that lack a meter for it."""
    included = set(measured)
    more, less = wanted - included, included - wanted
    signs = {apart[name]: 1 for name in more if name in apart} | {apart[name]: -1 for name in less if name in apart}
    return dict(sorted(signs.items())), {name for name in more | less if name not in apart}


@dataclass(frozen=True)
class ImmersionHeater:
    """What the immersion heater adds to the energies of the heat pump, so that it is in each of them once.

    Attributes:
        electrical, thermal: whether its electricity comes on top of the heat pump's, and its heat on top of its heat:
            not where a meter includes it already.
        is_metered: whether it has a meter of its own.
        is_known: whether what it adds can be known: it has a meter, adds nothing, or is not there.
    """

    electrical: bool
    thermal: bool
    is_metered: bool
    is_known: bool


def immersion_heater(metering: Metering) -> ImmersionHeater:
    """Where the settings do not say what a meter includes, the immersion heater is apart from it."""
    name = "immersion_heater"
    electrical, thermal = (name not in (included or ()) for included in (metering.electrical, metering.thermal))
    is_metered = name in metering.apart
    is_known = is_metered or not (electrical or thermal) or name not in metering.installed
    return ImmersionHeater(electrical, thermal, is_metered, is_known)


def _words(names: set[str]) -> str:
    return ", ".join(name.replace("_", " ") for name in sorted(names))


@dataclass(frozen=True)
class Ratio:
    """A boundary's heat and electricity (kWh) as expressions over rows of figures, and of the consumers with a meter of
    their own that are in them the sign with which they are in heat and in electricity (0: not; by the word in
    `electrical_energy_<word>_kwh`)."""

    heat: pl.Expr
    electricity: pl.Expr
    apart: Mapping[str, tuple[int, int]]


def spf_columns(metering: Metering) -> tuple[dict[str, Ratio], str | None]:
    """The boundaries that the meters allow, by the name of their column; and why the others are missing.

    Cooling is in neither.
    """
    mains = {
        "electrical": pl.col("electrical_energy_kwh") - pl.col("electrical_energy_cooling_kwh").fill_null(0),
        "thermal": pl.col("thermal_energy_kwh"),
    }

    def total(signs: Mapping[str, int]) -> pl.Expr:
        whole = pl.lit(0.0)
        for name, sign in signs.items():
            whole = whole + sign * mains.get(name, pl.col(name))
        return whole

    found, reasons = {}, []
    for boundary in BOUNDARIES:
        parts = terms(boundary, metering)
        if parts.reason is None:
            columns = dict.fromkeys(name for name in (*parts.electrical, *parts.thermal) if name not in mains)
            apart = {
                name.removeprefix("electrical_energy_").removesuffix("_kwh"): (
                    parts.thermal.get(name, 0),
                    parts.electrical.get(name, 0),
                )
                for name in columns
            }
            found[f"spf_h{boundary}"] = Ratio(total(parts.thermal), total(parts.electrical), apart)
        else:
            reasons.append((f"H{boundary}", parts.reason))
    alike = dict.fromkeys(reason for _, reason in reasons)
    lines = [f"{', '.join(name for name, its in reasons if its == reason)}: {reason}" for reason in alike]
    return found, "; ".join(lines) or None
