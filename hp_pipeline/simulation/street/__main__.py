"""`python -m hp_pipeline.simulation.street`: serve the street of a data folder until a signal comes."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from pathlib import Path

from hp_pipeline.simulation.street.plan import load_plan
from hp_pipeline.simulation.street.server import Street, serve
from hp_pipeline.simulation.street.trouble import Faults


def main() -> int:
    """Serve; 1 when there is no street, or a port is taken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--speed", type=int, default=1)
    parser.add_argument("--faults", default="none")
    parser.add_argument("--history", action="store_true", help="write what was told until now, and serve nothing")
    told = parser.parse_args()
    logging.basicConfig(
        format="%(asctime)s %(levelname)s %(message)s",
        stream=sys.stderr,
        level=logging.WARNING if told.history else logging.INFO,
    )
    plan = load_plan(told.data)
    if plan is None:
        logging.error("there is no street in %s", told.data)
        return 1
    street = Street(plan, told.data, told.speed, Faults.parse(told.faults))
    if told.history:
        street.write_history()
        return 0
    try:
        asyncio.run(serve(street))
    except OSError as error:
        logging.error("the street cannot answer: %s", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
