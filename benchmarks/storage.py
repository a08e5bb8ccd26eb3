"""How many bytes a day of one heat pump takes on the disk, by table, and what a year of all of it comes to.

No target; a year read every 30 s should fit many times on the smallest box. A file takes whole blocks of the file
system (commonly 4096 bytes), which is what the disk loses.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.child import in_child
from benchmarks.history import linked_copy, year
from benchmarks.report import Line, Report

_BLOCK = 512
"""Unit in which the system tells what a file takes, whatever the file system's own block."""


def measure(runs: int) -> Report:
    """Make the tables of a year once and look at the files. The bytes are the same in every run."""
    report = Report("storage", "bytes on the disk per day and heat pump, a year at 30 s")
    answer: dict[str, dict[str, Any]] = in_child("storage:make_and_weigh", str(linked_copy(year(), "storage"))).answer
    for table, found in answer.items():
        report.lines.append(
            Line(
                table,
                round(found["bytes"] / found["days"]),
                "bytes/day",
                note=f"{found['files']} files, {found['rows'] / found['days']:,.1f} rows a day, "
                f"{found['taken'] / 1e6:.1f} MB of disk a year",
            )
        )
    total, taken = (sum(found[name] for found in answer.values()) for name in ("bytes", "taken"))
    readings = answer["readings"]
    report.lines += [
        Line("all tables", round(total / readings["days"]), "bytes/day"),
        Line("a year", round(total / 1e6, 1), "MB"),
        Line("a year, as the disk counts", round(taken / 1e6, 1), "MB"),
        Line(
            "a reading", round(readings["bytes"] / readings["rows"], 2), "bytes", note="point, time and value or text"
        ),
    ]
    return report


def make_and_weigh(folder: str) -> dict[str, dict[str, float]]:
    """Make all tables of a folder; by table its days, files, rows, bytes, and bytes that the disk lost."""
    from benchmarks.house import bring_up_to_date, open_house

    workspace = open_house(Path(folder))
    bring_up_to_date(workspace)
    workspace.publish()
    lake = workspace.lake
    days = len(lake.keys(next(asset for asset in lake.assets() if asset.startswith("readings/"))))
    found: dict[str, dict[str, float]] = {}
    for asset in lake.assets():
        sums: dict[str, float] = {"days": days, "files": 0, "rows": 0, "bytes": 0, "taken": 0}
        keys = lake.keys(asset)
        sums["rows"] += sum(receipt.rows for receipt in lake.receipts(asset, keys).values())
        for path in {lake.path(asset, key) for key in keys}:
            status = path.stat()
            sums["files"] += 1
            sums["bytes"] += status.st_size
            sums["taken"] += status.st_blocks * _BLOCK
        found[asset.partition("/")[0]] = sums
    return dict(sorted(found.items(), key=lambda item: -item[1]["bytes"]))
