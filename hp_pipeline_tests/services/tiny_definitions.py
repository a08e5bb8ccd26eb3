"""The smallest code location that the services can be tried on: partitions, and a run that holds a pool for long."""

import os
import time
from pathlib import Path

import dagster as dg

days = dg.DailyPartitionsDefinition("2026-01-01", end_date="2026-01-11")


@dg.asset(partitions_def=days)
def quick(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    """A partition that takes no time."""
    return dg.MaterializeResult(metadata={"day": context.partition_key})


@dg.asset(pool="writer")
def slow() -> None:
    """Holds the pool until the file `let_go` appears beside the data; says that it started in `attempts`."""
    data = Path(os.environ["HP_DATA"])
    with (data / "attempts").open("a") as file:
        file.write(f"{os.getpid()}\n")
    while not (data / "let_go").exists():
        time.sleep(0.05)


defs = dg.Definitions(
    assets=[quick, slow],
    jobs=[dg.define_asset_job("quick_job", [quick]), dg.define_asset_job("slow_job", [slow])],
    executor=dg.in_process_executor,
)
