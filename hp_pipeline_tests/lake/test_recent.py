"""What is read is what the files hold, whether it is found in memory, read at once with others, or alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hp_pipeline.lake import DamagedPartitionError, Lake, recent
from hp_pipeline.lake.files import identity

START = datetime(2024, 1, 1, tzinfo=UTC)
COLUMNS = ["start", "mode", "power", "starts", "running", "unheard_of"]


def day(number: int, rows: int, known: frozenset[str]) -> pl.DataFrame:
    """A partition in which only some columns know something."""
    values = {
        "mode": pl.Series([("heating", "dhw", None)[row % 3] for row in range(rows)], dtype=pl.String),
        "power": pl.Series([float(number + row) for row in range(rows)], dtype=pl.Float64),
        "starts": pl.Series([number * row for row in range(rows)], dtype=pl.Int64),
        "running": pl.Series([row % 2 == 0 for row in range(rows)], dtype=pl.Boolean),
    }
    starts = [START + timedelta(days=number, minutes=row) for row in range(rows)]
    frame = pl.DataFrame({"start": pl.Series(starts, dtype=pl.Datetime("us", "UTC"))})
    return frame.with_columns(
        (values[name] if name in known else pl.lit(None, values[name].dtype)).alias(name) for name in values
    )


days = st.lists(
    st.tuples(st.integers(0, 5), st.frozensets(st.sampled_from(["mode", "power", "starts", "running"]))),
    min_size=1,
    max_size=8,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(days, st.sampled_from([None, COLUMNS, ["power", "start"], ["unheard_of"]]), st.booleans(), st.data())
def test_memory_and_files_say_the_same(
    tmp_path: Path,
    drawn: list[tuple[int, frozenset[str]]],
    columns: list[str] | None,
    narrow: bool,
    data: st.DataObject,
) -> None:
    root = tmp_path / str(len(list(tmp_path.iterdir())))
    writer = Lake(root)
    parts = {f"2024-01-{1 + number:02}": day(number, *one) for number, one in enumerate(drawn)}
    writer.write_many("table/pump", parts, {})
    forgotten = data.draw(st.sets(st.sampled_from(sorted(parts))))
    for key in forgotten:
        path = writer.path("table/pump", key)
        path.write_bytes(path.read_bytes())  # the same content, but no longer the file that was written
    keys = ["2023-12-31", *parts, "2024-02-01"]
    where = pl.col("start") >= START + timedelta(minutes=1) if narrow and columns != ["unheard_of"] else None
    found, stored = (lake.read("table/pump", keys, columns, where) for lake in (writer, Lake(root)))
    alone = [Lake(root).read("table/pump", [key], columns, where) for key in keys]
    one_by_one = pl.concat([rows for rows in alone if rows is not None], how="diagonal_relaxed")
    assert found is not None and stored is not None
    assert found.equals(stored) and found.equals(one_by_one)
    assert found.columns == stored.columns == one_by_one.columns


def test_what_another_process_has_written_since_is_read(tmp_path: Path) -> None:
    first, second = Lake(tmp_path), Lake(tmp_path)
    first.write("table/pump", "2024-01-01", day(0, 3, frozenset({"power"})))
    second.write("table/pump", "2024-01-01", day(7, 2, frozenset({"power"})))
    read = first.read("table/pump", ["2024-01-01"])
    assert read is not None and read["power"].to_list() == [7.0, 8.0]
    second.remove("table/pump", "2024-01-01")
    assert first.read("table/pump", ["2024-01-01"]) is None


def test_a_damaged_file_among_many_is_named(tmp_path: Path) -> None:
    writer = Lake(tmp_path)
    for number in range(4):
        writer.write("table/pump", f"2024-01-0{1 + number}", day(number, 4, frozenset({"power"})))
    broken = writer.path("table/pump", "2024-01-03")
    broken.write_bytes(broken.read_bytes()[:-20])
    keys = [f"2024-01-0{1 + number}" for number in range(4)]
    for lake in (writer, Lake(tmp_path)):
        with pytest.raises(DamagedPartitionError, match=r"date=2024-01-03"):
            lake.read("table/pump", keys)


def test_memory_is_bounded_and_what_was_used_last_stays(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    frame = day(1, 4, frozenset({"power"}))
    kept = recent.RecentPartitions()
    path = tmp_path / "file"
    path.write_bytes(b"x")
    file = identity(path.stat())
    monkeypatch.setattr(recent, "MOST", 3 * (int(frame.estimated_size()) + 300 * frame.width) + 1)
    links = [tmp_path / f"link{number}" for number in range(5)]
    for number, link in enumerate(links):
        link.hardlink_to(path)
        kept.put(link, file, frame)
        if number:
            kept.get(links[1])
    assert [kept.get(link) is not None for link in links] == [False, True, False, True, True]
    monkeypatch.setattr(recent, "LARGEST", 10)
    kept.put(links[1], file, frame)
    assert kept.get(links[1]) is None, "what has become too large is not kept as it was"
