"""The parts of the score card that scenarios do not show by themselves."""

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from benchmarks import scorecard
from benchmarks.report import Line, Report, of_runs, shown
from hp_pipeline.simulation.scoring import score_events, unbiased_edges

NOON = datetime(2024, 1, 10, 12, tzinfo=UTC)


def _events(*edges: tuple[int, int], uncertainty_s: float | None = 30.0) -> pl.DataFrame:
    """Events by the seconds of their edges after noon."""
    return pl.DataFrame(
        {
            "start": [NOON + timedelta(seconds=start) for start, _ in edges],
            "end": [NOON + timedelta(seconds=end) for _, end in edges],
            "start_uncertainty_s": pl.Series([uncertainty_s] * len(edges), dtype=pl.Float64),
            "end_uncertainty_s": pl.Series([uncertainty_s] * len(edges), dtype=pl.Float64),
        }
    )


def test_an_edge_is_taken_in_the_middle_of_where_it_may_lie() -> None:
    middle = unbiased_edges(_events((30, 630)))
    assert middle["start"].item() == NOON + timedelta(seconds=15)
    assert middle["end"].item() == NOON + timedelta(seconds=615)


def test_an_edge_of_unknown_uncertainty_stays() -> None:
    middle = unbiased_edges(_events((30, 630), uncertainty_s=None))
    assert middle["start"].item() == NOON + timedelta(seconds=30)


def test_a_missed_event_is_excused_only_if_it_is_too_short_to_be_seen() -> None:
    true, found = _events((0, 600), (700, 720), (800, 1400)), _events((0, 600), (800, 1400))
    collar = timedelta(seconds=60)
    assert score_events(true, found, collar=collar).recall == pytest.approx(2 / 3)
    score = score_events(true, found, collar=collar, shortest=timedelta(seconds=30))
    assert (score.recall, score.excused) == (1.0, 1)
    assert score_events(true, found, collar=collar, shortest=timedelta(seconds=20)).recall == pytest.approx(2 / 3)


def test_an_invented_short_event_is_not_excused() -> None:
    score = score_events(
        _events((0, 600)),
        _events((0, 600), (700, 710)),
        collar=timedelta(seconds=60),
        shortest=timedelta(seconds=30),
    )
    assert score.precision == pytest.approx(1 / 2)


@pytest.mark.parametrize(
    ("line", "is_met"),
    [
        (Line("a", 1.0, "s"), None),
        (Line("a", 1.0, "s", at_most=1.0), True),
        (Line("a", 1.1, "s", at_most=1.0), False),
        (Line("a", 0.9, "", at_least=0.99), False),
        (Line("a", float("nan"), "s", at_most=1.0), False),
    ],
)
def test_a_target_is_met_or_missed(line: Line, is_met: bool | None) -> None:
    assert line.is_met is is_met


def test_of_several_runs_the_median_counts() -> None:
    line = of_runs("a", [3.0, 1.0, 2.0, 10.0], "s", at_most=3.0)
    assert (line.value, line.low, line.high, line.is_met) == (2.5, 1.0, 10.0, True)
    assert of_runs("a", [3.0], "s").low is None
    assert [shown(value) for value in (12345.6, 123.4, 1.2345, float("nan"))] == ["12,346", "123", "1.23", "–"]


def test_the_committed_score_card_tells_what_was_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = json.loads(scorecard.SEEN.read_text(encoding="utf-8"))
    assert scorecard.PAGE.read_text(encoding="utf-8") == scorecard.page(seen)

    # A benchmark alone renews its own rows; what was never seen is said to be so.
    monkeypatch.setattr(scorecard, "SEEN", tmp_path / "seen.json")
    assert scorecard.page(scorecard.remember([])).count("not measured on this machine") == len(scorecard.goals())
    asked = [Line(f"{what} by SQL", 9.0, "ms") for what in ("one temperature of all frames", "the COP of every day")]
    year = Report("year", "", [Line("all tables", 2.5, "s"), *asked, Line("peak memory", 1200.0, "MB")])
    scorecard.remember([year])
    text = scorecard.page(scorecard.remember([]))
    assert "from readings to all tables | ≤ 3 s | 2.5 s | met |" in text
    assert "Memory for it | ≤ 1000 MB | 1,200 MB | MISSED |" in text
    assert f"Of {len(scorecard.goals())} goals 3 are met, 1 missed" in text
    gates = [Line("Luxtronik 30 s · a", 1.0, "s", at_most=2), Line("Luxtronik 30 s · b", 3.0, "s", at_most=2)]
    assert scorecard.Goal("", "%", "whole_way", "Luxtronik 30 s · *").seen_in(gates) == 50
    with pytest.raises(LookupError, match="peak memory"):
        scorecard.remember([Report("year", "", year.lines[:3])])


def test_the_accuracy_of_the_score_card_is_that_of_its_page() -> None:
    told = (scorecard.PAGE.parent / "accuracy.md").read_text(encoding="utf-8")
    seen = json.loads(scorecard.SEEN.read_text(encoding="utf-8"))
    of_accuracy = [goal for goal in scorecard.goals() if goal.benchmark == "accuracy"]
    assert len(of_accuracy) > 20
    for goal in of_accuracy:
        if goal.line.endswith("*"):
            verdicts = re.findall(
                rf"^\| {re.escape(goal.line[:-1])}.*\| (met|\*?\*?MISSED\*?\*?) \|$", told, re.MULTILINE
            )
            assert len(verdicts) > 2, goal
            assert seen[goal.key]["value"] == pytest.approx(100 * verdicts.count("met") / len(verdicts)), goal
            continue
        pattern = rf"\| {re.escape(goal.line)}(?: \(.*\))? \| {re.escape(shown(seen[goal.key]['value']))} \|.*\|"
        found = re.search(pattern + r" [≥≤] ([\d.]+) \|", told)
        assert found, goal
        assert float(found[1]) == (goal.at_most or goal.at_least), goal
