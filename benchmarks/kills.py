"""The collector killed with SIGKILL at random moments, 200 times, and runs that bring what landed, 20 times: the tests
of the suite, which do it 50 and 5 times.

Afterwards every poll that was committed is in the lake exactly once, whatever was said to be stored is there, and the
tables are those of a clean rebuild.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.report import Line, Report

KILLS = 200
_TESTS = tuple(
    f"hp_pipeline_tests/landing/test_killed.py::test_{what}_is_killed_again_and_again"
    for what in ("the_collector", "a_beat")
)


def measure(runs: int) -> Report:
    """Run the tests once, with more kills."""
    report = Report("kills", "polls lost or doubled by kill -9 of the collector")
    began = time.perf_counter()
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *_TESTS],
        cwd=Path(__file__).resolve().parent.parent,
        env={**os.environ, "HP_KILLS": str(KILLS)},
        capture_output=True,
        text=True,
        check=False,
    )
    report.lines.append(Line("kills", float(KILLS), ""))
    report.lines.append(Line("failures", float(ran.returncode != 0), "", at_most=0.0, note="lost, doubled or torn"))
    report.notes.append(f"{time.perf_counter() - began:.0f} s. {ran.stdout[-2000:] if ran.returncode else ''}".strip())
    return report
