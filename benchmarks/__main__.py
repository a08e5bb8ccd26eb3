"""`python -m benchmarks [name…]`: measure, print tables, write `benchmarks/results/` and `docs/scorecard.md`."""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from collections.abc import Sequence

from benchmarks import scorecard
from benchmarks.report import RESULTS, Report, console

BENCHMARKS = (
    "accuracy",
    "whole_way",
    "calibration",
    "year",
    "storage",
    "one_day",
    "import_line_protocol",
    "micro_batch_run",
    "landing",
    "modbus",
    "collector",
    "kills",
    "written_per_day",
)
"""In the order in which they run: what is built for the year serves the next ones."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmarks named, or all. Returns 1 if one of them could not be done."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which: {', '.join(BENCHMARKS)}; default all")
    parser.add_argument("--runs", type=int, default=3, help="how often each figure is measured (default 3)")
    parser.add_argument("--write", action="store_true", help="also write the pages of accuracy in docs/")
    options = parser.parse_args(arguments)
    unknown = set(options.names) - set(BENCHMARKS)
    if unknown:
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS)}")
    failed = []
    reports: list[Report] = []
    for name in options.names or BENCHMARKS:
        module = importlib.import_module(f"benchmarks.{name}")
        console.rule(name)
        began = time.perf_counter()
        try:
            report: Report = module.measure(options.runs)
        except Exception:
            failed.append(name)
            console.print_exception()
            continue
        report.show()
        report.save()
        if options.write and hasattr(module, "write"):
            console.print(f"  written: {module.write(report)}", highlight=False)
        console.print(f"  took {time.perf_counter() - began:.0f} s", highlight=False)
        reports.append(report)
    if reports:
        summary = RESULTS / "summary.md"
        summary.write_text(
            "\n\n".join(f"## {report.name}: {report.title}\n\n{report.markdown()}" for report in reports) + "\n",
            encoding="utf-8",
        )
        missed = [f"{report.name}: {line.what}" for report in reports for line in report.lines if line.is_met is False]
        console.rule("summary")
        console.print(f"Results: {RESULTS}", highlight=False)
        console.print(f"Score card: {scorecard.write(reports)}", highlight=False)
        for line in missed:
            console.print(f"target missed: {line}", highlight=False)
    if failed:
        console.print(f"could not be measured: {', '.join(failed)}", highlight=False)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
