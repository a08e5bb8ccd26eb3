"""Brings landed readings to the lake and makes the figures, as a process that is killed at random moments."""

import sys
from pathlib import Path

from hp_pipeline.assets.landed import bring
from hp_pipeline.assets.workspace import Workspace
from hp_pipeline.settings import load_settings
from hp_pipeline_tests.landing.house import make_tables

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    workspace = Workspace(load_settings(folder / "hp.yaml"), folder / "data")
    print("begins", flush=True)
    bring(workspace, "tiny")
    make_tables(workspace)
