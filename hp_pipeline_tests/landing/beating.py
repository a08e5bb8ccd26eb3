"""Runs of the job `beat` in processes of their own, as workers execute them, to be killed at random moments."""

from __future__ import annotations

import multiprocessing
import os
from datetime import date
from multiprocessing.process import BaseProcess
from pathlib import Path

from hp_pipeline.assets.partitions import BEAT, LANDED, PARENT_RUN, range_tags
from hp_pipeline.assets.workspace import Workspace
from hp_pipeline.definitions import build_definitions
from hp_pipeline.services.instance import open_instance
from hp_pipeline.settings import load_settings


def beat(folder: str, first: str, last: str, again: str | None, begun: str) -> None:
    """One run over some days; `again`: the id of the run that was cut off. The file `begun` appears when it works."""
    workspace = Workspace(load_settings(Path(folder) / "hp.yaml"), Path(folder) / "data")
    os.environ["DAGSTER_EVENT_BATCH_SIZE"] = "200"  # as `services.environment` has it
    tags = {BEAT: LANDED, **range_tags(date.fromisoformat(first), date.fromisoformat(last))}
    job = build_definitions(workspace).resolve_job_def("beat")
    with open_instance(workspace.data) as instance:
        Path(begun).touch()
        job.execute_in_process(instance=instance, tags=tags | ({PARENT_RUN: again} if again else {}))


_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload([__name__])


def start(folder: Path, first: date, last: date, again: str | None, begun: Path) -> BaseProcess:
    """Start a run over some days."""
    arguments = (str(folder), first.isoformat(), last.isoformat(), again, str(begun))
    process = _CONTEXT.Process(target=beat, args=arguments, daemon=True)
    process.start()
    return process
