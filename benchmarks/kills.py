"""The collector killed with SIGKILL at random moments, 200 times: the test of the suite, which does it 50 times.

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
_TEST = "hp_pipeline_tests/landing/test_killed.py::test_the_collector_is_killed_again_and_again"


def measure(runs: int) -> Report:
    """Run the test once, with more kills."""
    report = Report("kills", "polls lost or doubled by kill -9 of the collector")
    began = time.perf_counter()
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", _TEST],
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
