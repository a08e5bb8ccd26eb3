"""The commands that show what happened."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hp_pipeline_tests.cli.conftest import Call

COMMANDS = [
    ["cycling"],
    ["cycling", "--by", "run"],
    ["defrosts"],
    ["defrosts", "--by", "month"],
    ["defrosts", "--by", "defrost"],
    ["states", "--signal", "compressor_running"],
]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_in_every_form(made: Path, call: Call, words: list[str]) -> None:
    for form in ("text", "json", "csv"):
        result = call(made, *words, "--heat-pump", "daikin", "--format", form)
        assert result.exit_code == 0, result.output
        if form == "json":
            rows = json.loads(result.output)
            assert rows and all(row["heat_pump"] == "daikin" for row in rows)
        else:
            assert len(result.output.splitlines()) > 1


def test_days_have_the_starts_of_their_runs(made: Path, call: Call) -> None:
    days = json.loads(call(made, "cycling", "--heat-pump", "daikin", "--format", "json").output)
    runs = json.loads(call(made, "cycling", "--by", "run", "--heat-pump", "daikin", "--format", "json").output)
    assert sum(day["starts"] for day in days) == sum(run["start_seen"] for run in runs) > 0
    text = call(made, "cycling", "--heat-pump", "daikin").output
    assert "none" in text and "2025-01-13" in text


def test_a_heat_pump_that_tells_no_faults(made: Path, call: Call) -> None:
    assert call(made, "faults").output == "No fault and no switch-off is known of that time.\n"
    assert json.loads(call(made, "faults", "--kind", "fault", "--format", "json").output) == []


def test_a_state_that_there_is_not(made: Path, call: Call) -> None:
    result = call(made, "states", "--signal", "compresor_running")
    assert result.exit_code == 2
    assert "compressor_running" in result.output
