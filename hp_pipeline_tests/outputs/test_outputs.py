"""What is handed to people: CSV, pictures, JSON, the data dictionary."""

from __future__ import annotations

import io
import json
import struct
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from hp_pipeline.assets.describe import preview
from hp_pipeline.outputs.csv import table_csv
from hp_pipeline.outputs.dictionary import data_dictionary
from hp_pipeline.outputs.picture import day_picture
from hp_pipeline.outputs.summary import as_csv, as_json
from hp_pipeline.transforms.schema import conform
from hp_pipeline.vocabulary.signals import signals
from hp_pipeline.vocabulary.tables import tables

MIDNIGHT = datetime(2025, 10, 25, 22, tzinfo=UTC)
"""The begin of the day that has 25 hours in Berlin."""


def frames(count: int, **known: float | None) -> pl.DataFrame:
    """Hours of a heat pump as frames, with the given signals constant."""
    start = [MIDNIGHT + timedelta(hours=number) for number in range(count)]
    rows = pl.DataFrame({"heat_pump": "daikin", "start": start}).with_columns(
        pl.col("start").cast(pl.Datetime("us", "UTC")),
        (pl.col("start").cast(pl.Datetime("us", "UTC")) + pl.duration(hours=1)).alias("end"),
        *(pl.lit(value, pl.Float64).alias(name) for name, value in known.items()),
    )
    return conform(rows, "frames")


def test_the_hour_that_comes_twice_is_told_apart() -> None:
    text = table_csv(frames(25, flow_temperature=35.123456), "frames", "Europe/Berlin")
    rows = pl.read_csv(io.StringIO(text))
    assert rows.columns == ["heat_pump", "start", "end", "flow_temperature [°C]"], "what nobody knows is left out"
    assert rows["start"].n_unique() == 25
    assert {"2025-10-26T02:00:00+02:00", "2025-10-26T02:00:00+01:00"} <= set(rows["start"])
    assert rows["end"][-1] == "2025-10-27T00:00:00+01:00"
    assert rows["flow_temperature [°C]"][0] == 35.1235


def test_a_csv_without_figures_still_says_when() -> None:
    rows = pl.read_csv(io.StringIO(table_csv(frames(2), "frames", "UTC")))
    assert rows.columns == ["heat_pump", "start", "end"]
    assert rows.height == 2


@pytest.mark.parametrize(
    "known", [{}, {"flow_temperature": 35.0, "electrical_power": 2000.0}, {"outdoor_temperature": None}]
)
def test_a_picture_of_any_day(known: dict[str, float | None]) -> None:
    rows = frames(25, **known)
    modes = conform(
        rows.select("heat_pump", "start", "end").with_columns(
            mode=pl.when(pl.col("start") < MIDNIGHT + timedelta(hours=6)).then(pl.lit("heating")).otherwise(None),
            session_start=pl.col("start") == MIDNIGHT,
        ),
        "operation",
    )
    png = day_picture(rows, modes, "Europe/Berlin", "Sunday")
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", png[16:24])
    assert (width, height) == (540, 302)
    assert len(png) < 60_000, "it is kept in an event for ever"


def test_json_and_csv_of_anything() -> None:
    rows = pl.DataFrame({"start": [MIDNIGHT], "cop": [None], "name": ["Wärme"]}, schema_overrides={"cop": pl.Float64})
    assert json.loads(as_json(rows)) == [{"start": "2025-10-25T22:00:00+00:00", "cop": None, "name": "Wärme"}]
    assert json.loads(as_json(rows.clear())) == []
    assert as_csv(rows) == "start,cop,name\n2025-10-25T22:00:00Z,,Wärme\n"
    odd = pl.DataFrame({"x": [float("nan"), float("inf"), 1.0], "l": [[1], [2], None], "b": [b"\xff", None, None]})
    found = json.loads(as_json(odd), parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    assert [row["x"] for row in found] == [None, None, 1.0]
    assert len(as_csv(odd).splitlines()) == 4


def test_preview_is_shown_without_a_click() -> None:
    start = pl.Series("start", [MIDNIGHT + timedelta(hours=n) for n in range(200)], pl.Datetime("us", "UTC"))
    rows = conform(pl.DataFrame({"start": start, "mode": ["heating"] * 200}), "sessions")
    text = str(preview("sessions", rows).value)
    assert len(text) < 1000
    assert text.splitlines()[2].startswith("| 2025-11-03 05:00 "), "the newest first"


def test_the_dictionary_knows_every_table_column_and_signal() -> None:
    text = data_dictionary()
    for table in tables().values():
        assert f"## {table.name}\n" in text
        for column in table.columns:
            assert f"| `{column.name}` |" in text
    for name in signals():
        assert f"| `{name}` |" in text
