"""The data dictionary: every table, column and signal with its unit and meaning, as Markdown."""

from __future__ import annotations

from collections.abc import Iterable

from hp_pipeline.vocabulary.durations import format_duration
from hp_pipeline.vocabulary.signals import signals
from hp_pipeline.vocabulary.tables import Column, figure_columns, tables

_HEAD = """\
# Data dictionary

Made from the code by `hp-pipeline docs`; the comments in `hp.duckdb` say the same. Times are UTC, `end` is exclusive,
null is unknown. Every view also has `date`: the UTC day (of a local day, week, month, year: its first day) whose file a
row is in. A condition on `date` reads few files.
"""


def data_dictionary() -> str:
    """The whole dictionary."""
    shared = [column.name for column in figure_columns()]
    parts = [_HEAD]
    for table in tables().values():
        own = [column for column in table.columns if column.name not in shared]
        parts.append(f"## {table.name}\n\n{table.description}.\n")
        parts.append(_rows(own))
        if len(own) < len(table.columns):
            parts.append(
                "…and the [figures](#figures).\n"
                if table.name != "segments"
                else "…and the sums of the [figures](#figures).\n"
            )
    parts.append("## Figures\n\nThe columns that all tables of figures share.\n")
    parts.append(_rows(figure_columns()))
    parts.append("## Signals\n\nThe canonical signals: the columns of `frames`, and what a profile maps to.\n")
    lines = ["| signal | unit | kind | believed range | held for at most | meaning |", "|---|---|---|---|---|---|"]
    for signal in signals().values():
        believed = "" if signal.minimum is None else f"{signal.minimum:g} … {signal.maximum:g}"
        kind = f"{signal.kind}: {', '.join(signal.values)}" if signal.values else signal.kind
        lines.append(
            f"| `{signal.name}` | {signal.unit or ''} | {kind} | {believed} | {format_duration(signal.max_age)} "
            f"| {signal.description} |"
        )
    parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def _rows(columns: Iterable[Column]) -> str:
    lines = ["| column | type | unit | meaning |", "|---|---|---|---|"]
    for column in columns:
        lines.append(f"| `{column.name}` | {column.type.lower()} | {column.unit or ''} | {column.description} |")
    return "\n".join(lines) + "\n"
