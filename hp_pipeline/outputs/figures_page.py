"""The page `docs/figures.md`: what each figure means, with its formula, its boundary and when there is none."""

from __future__ import annotations

from collections.abc import Sequence

from hp_pipeline.vocabulary.tables import tables
from hp_pipeline.vocabulary.tables.meanings import GROUPS, Meaning, meanings
from hp_pipeline.vocabulary.tables.table import Column
from hp_pipeline.vocabulary.ways import WAYS

_HEAD = """\
# What the figures mean

Made from the code by `hp-pipeline docs`. A formula is SQL over the columns of the same row, and the tests compute it on
a house's tables: it is what the code does. No ratio is ever averaged: rows are added up first, then divided. Null is
unknown, and where a figure people look for is null, a column beside it says why. All tables and columns, also those
that are no figures: [data dictionary](data_dictionary.md).

Electricity, heat, and the COPs and SPFs that people compare have a band beside them, `…_low` to `…_high`, which holds
the truth in 95 of 100 cases. The COPs that have none say so: they are near one that has. What is made of sums by
temperature or of prices (grade, heat loss, cost per kWh), and tables of other kinds, have none of their own.
"""

Entry = tuple[Column, Meaning]


def figures_page() -> str:
    """The whole page."""
    blocks: dict[str, dict[tuple[str, ...], list[Entry]]] = {group: {} for group in GROUPS}
    places: dict[tuple[Column, Meaning], list[str]] = {}
    for table, column, meaning in meanings(iter(tables().values())):
        places.setdefault((column, meaning), []).append(table.name)
    for (column, meaning), within in places.items():
        blocks[meaning.group].setdefault(tuple(within), []).append((column, meaning))
    parts = [_HEAD, _ways()]
    for group, title in GROUPS.items():
        parts.append(f"## {title}\n")
        # What stands in most tables is what people look for first.
        for names, entries in sorted(blocks[group].items(), key=lambda block: -len(block[0])):
            parts.append(f"In {' '.join(f'`{name}`' for name in names)}:\n\n{_rows(entries)}")
    return "\n".join(parts)


def _ways() -> str:
    lines = [
        "## The ways to an energy\n",
        "Of each moment the first that is known is chosen. `electrical_method` and `thermal_method` list the ways that",
        "a figure is made of; the others stand beside it. The error is the permissible one where `meters:` states no",
        "class. Over a silence of a meter, what its counter counted meanwhile is spread in proportion to what the next",
        "ways tell of it: the sum is the meter's, and both are listed. The last two are made only where a heat pump",
        "tells no heat and no flow rate at all.\n",
        "| | way | what it is | error of electricity | error of heat |",
        "|---|---|---|---|---|",
    ]
    for rank, way in enumerate(WAYS, start=1):
        errors = (f"{way.error(kind).share:.0%}" if way.tells(kind) else "" for kind in ("electrical", "thermal"))
        lines.append(f"| {rank} | {way.word} | {way.meaning} | {' | '.join(errors)} |")
    return "\n".join(lines) + "\n"


def _rows(entries: Sequence[Entry]) -> str:
    has_boundary = any(meaning.boundary for _, meaning in entries)
    headings = ["figure", "unit", "meaning", "formula or method", *(["boundary"] if has_boundary else []), "null when"]
    lines = [f"| {' | '.join(headings)} |", "|---" * len(headings) + "|"]
    families: dict[Meaning, list[Column]] = {}
    for column, meaning in entries:
        if meaning.is_listed_once:
            families.setdefault(meaning, []).append(column)
    told: set[Meaning] = set()
    for column, meaning in entries:
        if meaning in told:
            continue
        columns = families.get(meaning, [column])
        told |= {meaning} if meaning.is_listed_once else set()
        how = [f"`{meaning.formula}`" if meaning.formula else "", meaning.method or ""]
        cells = [
            " ".join(f"`{one.name}`" for one in columns),
            column.unit or "" if len({one.unit for one in columns}) == 1 else "its own",
            column.description if len(columns) == 1 else "See each name",
            "; ".join(text for text in how if text),
            *([meaning.boundary or ""] if has_boundary else []),
            meaning.null_when or "never",
        ]
        lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(lines) + "\n"
