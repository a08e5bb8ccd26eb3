"""The simulated house, and recordings of real controllers where they are at hand."""

import json
import struct
from pathlib import Path

import pytest

from hp_pipeline_tests.simulation.devices.conftest import house, winter_run

__all__ = ["house", "winter_run"]

CAPTURES = Path(__file__).parents[4] / "shared" / "data" / "luxtronik_captures"


@pytest.fixture
def v1_80() -> dict[int, bytes]:
    """The answers of a V1.80 controller, byte for byte."""
    return {command: _recording(f"coolchip_{command}").read_bytes() for command in (3003, 3004, 3005)}


@pytest.fixture
def v3_78() -> dict[int, bytes]:
    """The values of a V3.78 controller, as it would send them."""
    values = json.loads(_recording("bouni_2016.json").read_text(encoding="utf-8"))
    frames = {}
    for command, code in ((3003, "i"), (3004, "i"), (3005, "b")):
        head = (command, 0) if command == 3004 else (command,)
        numbers = values[str(command)]
        frames[command] = struct.pack(f">{len(head)}ii{len(numbers)}{code}", *head, len(numbers), *numbers)
    return frames


def _recording(name: str) -> Path:
    path = CAPTURES / name
    if not path.exists():
        pytest.skip(f"the recording {name} is not at hand (looked for it beside the repository in shared/data)")
    return path
