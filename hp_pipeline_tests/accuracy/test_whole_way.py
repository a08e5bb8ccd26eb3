"""From the wire to the figures: real protocols, clients, collector, landing, lake and stages, against the truth.

One winter day of each house; more days and paces are `python -m benchmarks whole_way`.
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from benchmarks.walking import (
    ARCHIVE,
    ELECTRICITY,
    ESPALTHERMA,
    HEAT,
    HEISHAMON,
    ISG,
    LUXTRONIK,
    VIESSMANN,
    Event,
    Served,
    Walked,
    Way,
    fault,
    walk,
)
from benchmarks.whole_way import lines
from hp_pipeline.simulation.devices.mqtt import Publisher
from hp_pipeline.simulation.devices.viessmann import ViessmannCloudServer
from hp_pipeline.simulation.house import Trajectory, simulate
from hp_pipeline.simulation.scoring import match_events
from hp_pipeline.simulation.weather import simulate_weather

MIDNIGHT = datetime(2024, 1, 15, 23, tzinfo=UTC)
"""Of the local day of 16 January."""
SETTLING = timedelta(hours=12)
MINUTES_5 = timedelta(minutes=5)
WAYS = {
    "luxtronik": LUXTRONIK,
    "isg": ISG,
    "viessmann": VIESSMANN,
    "espaltherma": ESPALTHERMA.polled_every(timedelta(minutes=1)),
    "heishamon": HEISHAMON.polled_every(timedelta(minutes=1)),
    "archive": ARCHIVE,
    "luxtronik_5min": LUXTRONIK.polled_every(MINUTES_5),
    "isg_5min": ISG.polled_every(MINUTES_5),
}
"""At their usual pace, and at the coarsest."""


def winter_day(way: Way) -> Trajectory:
    """A local day and half an hour."""
    stop = MIDNIGHT + timedelta(hours=24, minutes=30)
    weather = simulate_weather(MIDNIGHT - SETTLING, stop, step_s=2, seed=2)
    return simulate(way.parameters, weather, 2, settling=SETTLING)


@pytest.fixture(scope="module", params=WAYS)
def walked(request: pytest.FixtureRequest) -> Walked:
    way = WAYS[request.param]
    return walk(way, winter_day(way))


def test_the_figures_are_inside_the_gates(walked: Walked) -> None:
    found = lines([walked])
    assert sum(line.is_met is not None for line in found) >= 7
    assert [f"{line.what}: {line.value} (target {line.target})" for line in found if line.is_met is False] == []


def test_every_poll_came_and_no_counter_was_corrected(walked: Walked) -> None:
    length = timedelta(hours=24, minutes=30)
    polled = [device for device in walked.way.devices.values() if device.kind not in ("mqtt", "files")]
    expected = sum(length // device.every for device in polled)
    if len(polled) == len(walked.way.devices):
        assert walked.polls == {"ok": pytest.approx(expected, abs=2 * len(polled))}
    else:
        assert set(walked.polls) <= {"ok"}
    assert walked.tables["counter_ledger"].is_empty()


def test_energies_of_parts_add_up(walked: Walked) -> None:
    daily, sessions = walked.tables["daily"], walked.tables["sessions"]
    for column in ("thermal_energy_kwh", "electrical_energy_kwh"):
        # Seconds at the begin are in no session: the meter answered before the heat pump told its mode.
        assert 0 <= daily[column].sum() - sessions[column].sum() + 1e-9 <= 0.01
        assert daily[column].sum() == pytest.approx(walked.tables["all_time"][column].item(), rel=1e-9)


def pairs(walked: Walked, name: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """True events and those found, row by row: heating, dhw (sessions), cycles, defrosts."""
    kind, table = {"cycles": ("cycle", "cycles"), "defrosts": ("defrost", "defrosts")}.get(
        name, (f"{name}_session", "sessions")
    )
    of = {"cycles": pl.col("mode") != "standby", "defrosts": pl.lit(True)}.get(name, pl.col("mode") == name)
    true = walked.truth.filter(of, kind=kind).sort("start")
    found = walked.tables[table].filter(of, ~pl.col("provisional")).sort("start")
    matched = match_events(true, found, walked.way.slowest + timedelta(minutes=1))
    return true[[row for row, _ in matched]], found[[row for _, row in matched]]


def test_edges_lie_where_the_tables_say(walked: Walked) -> None:
    inside, all_, sure = 0, 0, 0
    # The truth has steps of 2 s, and a poll takes its time. In the archive a compressor shows by its power, in all of a
    # frame in which it ran at all.
    early = 10 if walked.way.name == ARCHIVE.name else 2
    for name in {"heating", "dhw", "cycles", "defrosts"} - walked.way.untold:
        true, found = pairs(walked, name)
        for edge in ("start", "end"):
            late = (found[edge] - true[edge]).dt.total_microseconds() / 1e6
            within = found[f"{edge}_uncertainty_s"]
            known = within.is_not_null()
            inside += int(((late >= -early) & (late <= within + 2)).filter(known).sum())
            sure += int((within <= 1.0).filter(known).sum())
            all_ += int(known.sum())
    assert all_ >= 8 and inside >= 0.95 * all_
    if walked.way.name == VIESSMANN.name:
        assert sure >= 0.95 * all_, "its cloud dates them, however seldom it is asked"
    elif walked.way.name != HEISHAMON.name:
        assert sure == 0


def test_bands_of_sessions_hold_the_truth(walked: Walked) -> None:
    for name in {"heating", "dhw"} - walked.way.untold:
        true, found = pairs(walked, name)
        for energy, words in ((HEAT, "thermal"), (ELECTRICITY, "electrical")):
            low, high = (found[f"{words}_energy_{end}_kwh"] for end in ("low", "high"))
            told = found.height - int(low.is_null().sum())
            assert int(true[energy].is_between(low - 1e-9, high + 1e-9).sum()) >= 0.95 * told


OUTAGES = (2.0, 6.0, 9.0, 12.0, 15.5, 19.0)
"""Hours of the day at which a device is away for 40 min."""


@pytest.mark.parametrize("source", ["vicare", "heishamon"])
def test_an_edge_behind_an_outage_lies_where_the_tables_say(source: str) -> None:
    """Its date is right whenever the cloud is asked; what a publisher said meanwhile is lost."""
    way = {"vicare": VIESSMANN, "heishamon": HEISHAMON.polled_every(timedelta(minutes=1))}[source]
    events = [event for hour in OUTAGES for event in away(source, MIDNIGHT + timedelta(hours=hour))]
    walked = walk(way, winter_day(way), events)
    runs, cycles = walked.truth.filter(kind="compressor_run"), walked.tables["cycles"].sort("start")
    begins = pl.col("state").shift(1), pl.col("state")
    edges = [
        (walked.tables["defrosts"]["start", "start_uncertainty_s"], walked.truth.filter(kind="defrost")["start"]),
        (cycles.filter(begins[0] == "off", begins[1] == "on")["start", "start_uncertainty_s"], runs["start"]),
        (cycles.filter(begins[0] == "on", begins[1] == "off")["start", "start_uncertainty_s"], runs["end"]),
    ]
    if "dhw" not in way.untold:
        sessions = walked.tables["sessions"].filter(mode="dhw")["start", "start_uncertainty_s"]
        edges.append((sessions, walked.truth.filter(kind="dhw_session")["start"]))
    late: list[tuple[float, float]] = []
    unheard = 0
    for found, true in edges:
        last = found.sort("start").with_columns(by=pl.col("start") + timedelta(seconds=2))
        last = last.join_asof(pl.DataFrame({"true": true.sort()}), left_on="by", right_on="true")
        after = (last["start"] - last["true"]).dt.total_microseconds() / 1e6
        late += zip(after, last["start_uncertainty_s"], strict=True)
        for hour in OUTAGES:
            away_from = MIDNIGHT + timedelta(hours=hour)
            unheard += last["true"].is_between(away_from, away_from + timedelta(minutes=40)).sum()
    assert len(late) >= 8 and unheard >= 1
    assert sum(after <= within + 2 for after, within in late) >= 0.95 * len(late)
    longest = max(within for _, within in late)
    assert longest == (1.0 if source == "vicare" else pytest.approx(2400, abs=120)), late


def away(source: str, moment: datetime) -> list[Event]:
    """A device that cannot be reached for 40 min."""

    def gone(served: Served) -> None:
        if isinstance(served.server, ViessmannCloudServer):
            served.server.stop()
        elif isinstance(served.server, Publisher):
            served.server.faults.inject("stall", times=40)

    def back(served: Served) -> None:
        if isinstance(served.server, ViessmannCloudServer):
            served.server.listen()

    return [Event(moment, source, gone), Event(moment + timedelta(minutes=40), source, back)]


# ---- faults --------------------------------------------------------------------------------------------------------

RESETS = (
    (3.1, "counter_reset", 0.0),
    (9.3, "counter_reset", 0.0),
    (11.3, "rollback", 1800.0),
    (20.2, "counter_reset", 0.0),
)
LUXTRONIK_LINE = (
    ("fragment", 5, 100.0), ("close", 2, 3004.0), ("reset", 2, 0.0), ("busy", 8, 0.0), ("garbage", 2, 3004.0),
    ("stray_byte", 2, 0.0), ("too_many", 1, 0.0), ("none_at_all", 1, 0.0), ("short", 1, 3004.0), ("long", 1, 3003.0),
    ("stall", 1, 3004.0), ("stall_midway", 1, 3004.0), ("clock_offset", 20, 3600.0), ("fewer_values", 5, 0.0),
    ("sentinel", 3, 0.0),
)  # fmt: skip
"""Name, how often, value."""
SHELLY_EVENTS = ((5.3, "counter_reset", 0.0), (10.2, "rollback", 900.0), (15.1, "swap", 0.0))
SHELLY_LINE = ("fragment", "close", "reset", "garbage", "html", "not_a_number", "wrong_length", "starting")
VIESSMANN_LINE = (
    "sentinel",
    "garbage",
    "html_502",
    "duplicate",
    "out_of_order",
    "torn_pair",
    "clock_offset",
    "odd_values",
)


def luxtronik_trouble() -> list[Event]:
    """Every fault that a Luxtronik can have, over the day."""
    kept = [fault(hour, "luxtronik", name, MIDNIGHT, value=value) for hour, name, value in RESETS]
    passing = [
        fault(1 + 1.45 * number, "luxtronik", name, MIDNIGHT, times=times, value=value)
        for number, (name, times, value) in enumerate(LUXTRONIK_LINE)
    ]
    return kept + passing


def viessmann_trouble() -> list[Event]:
    """The same for a Viessmann and its Shelly."""
    kept = [fault(hour, "shelly", name, MIDNIGHT, value=value) for hour, name, value in SHELLY_EVENTS]
    line = [fault(1 + 2.6 * number, "shelly", name, MIDNIGHT, times=2) for number, name in enumerate(SHELLY_LINE)]
    cloud = [fault(1.2 + 2.6 * number, "vicare", name, MIDNIGHT) for number, name in enumerate(VIESSMANN_LINE)]
    return kept + line + cloud


@pytest.fixture(scope="module")
def troubled() -> Walked:
    """A Luxtronik asked every minute, with all faults."""
    way = LUXTRONIK.polled_every(timedelta(minutes=1))
    impatient = replace(way.devices["luxtronik"], settings={"timeout": "2s"})
    way = replace(way, devices={"luxtronik": impatient})
    return walk(way, winter_day(way), luxtronik_trouble())


@pytest.fixture(scope="module")
def troubled_cloud() -> Walked:
    return walk(VIESSMANN, winter_day(VIESSMANN), viessmann_trouble())


def _believed(walked: Walked, signals: tuple[str, ...]) -> list[tuple[str, float, str]]:
    """Signal, hour after midnight and kind of each line of the ledger of these counters."""
    ledger = walked.tables["counter_ledger"].filter(pl.col("signal").is_in(signals))
    return [
        (signal, (time - MIDNIGHT) / timedelta(hours=1), kind)
        for signal, time, kind in ledger.select("signal", "time", "kind").sort("signal", "time").iter_rows()
    ]


def test_every_reset_is_found_and_none_invented(troubled: Walked, troubled_cloud: Walked) -> None:
    # Heating is counted from the begin; of hot water nothing is counted before the last one.
    heating = ("thermal_energy_heating_total", "electrical_energy_heating_total")
    kinds = {"counter_reset": "reset", "rollback": "rollback", "swap": "handover"}
    wanted = [(signal, hour, kinds[name]) for signal in sorted(heating) for hour, name, _ in RESETS]
    found = _believed(troubled, heating)
    assert [(signal, kind) for signal, _, kind in found] == [(signal, kind) for signal, _, kind in wanted]
    assert [hour for _, hour, _ in found] == pytest.approx([hour for _, hour, _ in wanted], abs=1 / 60 + 0.001)
    found = _believed(troubled_cloud, ("electrical_energy_total",))
    assert [kind for _, _, kind in found] == [kinds[name] for _, name, _ in SHELLY_EVENTS]
    assert [hour for _, hour, _ in found] == pytest.approx([hour for hour, _, _ in SHELLY_EVENTS], abs=1 / 60 + 0.001)
    assert _believed(troubled_cloud, ("thermal_energy_heating_total", "thermal_energy_dhw_total")) == []


def test_a_line_in_trouble_costs_polls_and_no_energy(troubled: Walked, troubled_cloud: Walked) -> None:
    """What was counted between the last reading and a reset is not known: at most one interval each."""
    assert troubled.polls["busy"] + troubled.polls["timeout"] > 8
    assert troubled_cloud.polls["broken"] >= 2
    for walked, resets, of_heat in ((troubled, len(RESETS), True), (troubled_cloud, len(SHELLY_EVENTS), False)):
        lost_h = resets * walked.way.devices[next(iter(walked.way.devices))].every / timedelta(hours=1)
        for column, peak_kw, may in ((HEAT, 9.0, of_heat), (ELECTRICITY, 3.0, True)):
            true, found = walked.total(column)
            assert -0.0025 * true - (peak_kw * lost_h if may else 0.0) <= found - true <= 0.0025 * true, column


def test_what_was_missed_is_said(troubled: Walked) -> None:
    day = troubled.tables["daily"].row(0, named=True)
    missed = sum(count for outcome, count in troubled.polls.items() if outcome != "ok")
    assert missed > 0
    assert day["observed_s"] <= 86_400
    assert day["outdoor_temperature_min"] > -45, "a torn sensor is no temperature"
    assert 1 < day["cop"] < 6
