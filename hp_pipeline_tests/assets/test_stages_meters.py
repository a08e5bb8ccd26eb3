"""A meter's word before the machine's own, in whatever order they are read, and each figure says what it is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from functools import cache
from pathlib import Path
from random import Random

import polars as pl
import pytest

from hp_pipeline.assets.checks import check_results
from hp_pipeline.assets.stages import FiguresStage, Outcome, store_readings
from hp_pipeline.assets.workspace import Workspace
from hp_pipeline.settings import load_settings
from hp_pipeline_tests.assets.house import PUMP, contents, due, midnight, readings, table, update

START = midnight(2025, 1, 13)
MINUTES = 60 * 40
"""From the first midnight to the afternoon of the next day."""
SILENCE = (60 * 9, 60 * 12)
OVER_MIDNIGHT = (60 * 22 + 30, 60 * 25 + 30)

METER, DEVICE = "{source: meter, profile: shelly_3em}", "{source: device, profile: own.yaml}"
OWN = """
signals:
  operating_mode: {select: mode}
  compressor_on: {select: runs}
  electrical_power: {select: power, unit: W}
  electrical_energy_total: {select: counter, unit: kWh, resolution: 0.001}
  thermal_power: {select: heat, unit: W}
"""
HEAT_METER = """
meter: true
signals:
  thermal_energy_total: {select: given, unit: kWh, resolution: 0.001}
"""
STATED = """
meters:
  - {{id: m, heat_pump: daikin, measures: electrical, signal: electrical_power, accuracy: {accuracy}{source},
     includes: [compressor]}}
"""


def house(
    folder: Path, inputs: Sequence[str] = (METER, DEVICE), own: str | Mapping[str, str] = OWN, meters: str = ""
) -> Workspace:
    folder.mkdir(parents=True, exist_ok=True)
    for name, profile in ({"own.yaml": own} if isinstance(own, str) else own).items():
        (folder / name).write_text(profile)
    (folder / "hp.yaml").write_text(f"""
site: {{name: House, time_zone: Europe/Berlin, start: 2025-01-01}}
heat_pumps:
  - id: {PUMP}
    frame_interval: 30s
    inputs: [{", ".join(inputs)}]
sources: [{{id: meter, kind: files}}, {{id: device, kind: files}}]
{meters}""")
    return Workspace(load_settings(folder / "hp.yaml"), folder / "data")


def watts(minute: int) -> float:
    """What the machine takes: it runs for two hours of three, and the meter is right."""
    return 1500.0 + minute % 7 * 20 if minute % 180 < 120 else 12.0


@cache
def said(silences: tuple[tuple[int, int], ...] = (), counts: bool = True) -> Mapping[str, pl.DataFrame]:
    """What meter and machine say: the machine's power is a fifth too high, its counter by 7 %."""
    meter: list[tuple[str, datetime, float | str]] = []
    device: list[tuple[str, datetime, float | str]] = []
    used = 0.0
    for minute in range(MINUTES):
        now = START + timedelta(minutes=minute)
        power = watts(minute)
        if not any(begin < minute < end for begin, end in silences):
            meter.append(("em:0.total_act_power", now + timedelta(seconds=10), power))
            if counts:
                meter.append(("emdata:0.total_act", now + timedelta(seconds=10), round(1000 * used, 2) + 5000))
        later = now + timedelta(seconds=25)
        device += [
            ("mode", later, "heating" if power > 100 else "standby"),
            ("runs", later, "on" if power > 100 else "off"),
            ("power", later, 1.2 * power),
            ("counter", later, round(1.07 * used, 3) + 20),
            ("heat", later, 4 * power if power > 100 else 0.0),
        ]
        used += power / 60000
    return {"meter": readings(meter), "device": readings(device)}


def store(made: Workspace, what: Mapping[str, pl.DataFrame], *days: date) -> None:
    for source, rows in what.items():
        chosen = rows.filter(pl.col("time").dt.date().is_in(days)) if days else rows
        store_readings(made, source, chosen)


def built(folder: Path, what: Mapping[str, pl.DataFrame], **settings: object) -> Workspace:
    made = house(folder, **settings)  # type: ignore[arg-type]
    store(made, what)
    update(made)
    return made


def _ends_the_same(folder: Path, what: Mapping[str, pl.DataFrame], order: Sequence[int], own: str) -> None:
    """Days that come one by one, in this order, are those that come at once."""
    whole = built(folder / "whole", what, own=own)
    made = house(folder / "single", own=own)
    for number in order:
        day = START.date() + timedelta(days=number)
        store(made, what, day)
        update(made, day, day)
    assert contents(made) == contents(whole)
    assert due(made) == []


def used_within(first: int, last: int) -> float:
    return sum(watts(minute) for minute in range(first, last)) / 60000


def test_the_order_of_the_inputs_changes_nothing(tmp_path: Path) -> None:
    silences = (SILENCE, OVER_MIDNIGHT)
    one = built(tmp_path / "one", said(silences))
    other = built(tmp_path / "other", said(silences), inputs=(DEVICE, METER))
    assert contents(one) == contents(other)


def test_a_machines_word_is_never_mixed_into_a_meters(tmp_path: Path) -> None:
    made = built(tmp_path, said())
    known = table(made, "frames").filter(pl.col("start") > START + timedelta(minutes=1))
    assert set(known["electrical_way"]) == {"meter power"} and set(known["thermal_way"]) == {"device power"}
    assert known["electrical_power"].max() == pytest.approx(1620)
    whole = table(made, "daily").row(0, named=True)
    assert whole["electrical_method"] == "meter counter" and whole["thermal_method"] == "device power"
    assert whole["electrical_energy_kwh"] == pytest.approx(used_within(0, 60 * 23), rel=0.001)


def test_while_the_meter_is_silent_it_says_how_much_and_the_machine_when(tmp_path: Path) -> None:
    """Three hours: the machine's counter, 7 % too high, shares what the meter counted, and no hour is off by it."""
    made = built(tmp_path, said((SILENCE,)))
    hours = table(made, "hourly").filter(pl.col("start") >= START + timedelta(hours=1))
    silent = pl.col("start").is_between(*(START + timedelta(minutes=at) for at in SILENCE))
    whole = hours.filter(pl.col("start") < START + timedelta(hours=39))
    assert set(whole.filter(~silent)["electrical_method"]) == {"meter counter"}
    for row in whole.to_dicts():
        first = (row["start"] - START) // timedelta(minutes=1)
        assert row["electrical_energy_kwh"] == pytest.approx(used_within(first, first + 60), abs=0.02)
    within = whole.filter(silent)
    both = "meter counter, device counter"
    assert within["electrical_method"].to_list() == [both] * 4, "the meter is read ten seconds behind the hour"
    assert within["electrical_energy_counter_kwh"].to_list() == within["electrical_energy_kwh"].to_list()
    residual = within["electrical_energy_residual_kwh"][:3].sum()
    assert residual == pytest.approx(-0.2 * used_within(*SILENCE), rel=0.02), "the machine's power is a fifth too high"
    day = table(made, "daily").row(0, named=True)
    assert day["electrical_method"] == "meter counter, device counter"
    assert day["electrical_energy_unobserved_kwh"] is None
    newest = table(made, "all_time")["electrical_method"].item()
    assert newest == "meter counter, meter power, device counter", "behind the last reading no counter counts yet"


@pytest.mark.parametrize("every", [12, 20, 40])
@pytest.mark.parametrize("has_power", [True, False])
def test_a_meter_that_is_read_seldom_counts_once_while_the_machine_is_silent(
    tmp_path: Path, every: int, has_power: bool
) -> None:
    """Between its readings nobody is heard for minutes: what the machine's counter counted meanwhile, the meter has."""
    minute = (pl.col("time") - START).dt.total_minutes()
    what = dict(said())
    what["meter"] = what["meter"].filter(minute % every == 0, has_power | (pl.col("point") == "emdata:0.total_act"))
    what["device"] = what["device"].filter(~minute.is_between(*SILENCE, closed="none"))
    whole = table(built(tmp_path, what), "daily").row(0, named=True)
    assert whole["electrical_energy_kwh"] == pytest.approx(used_within(0, 60 * 23), rel=0.001)
    assert whole["electrical_coverage"] == pytest.approx(1)


@pytest.mark.parametrize("silences", [(SILENCE,), (OVER_MIDNIGHT,), (SILENCE, OVER_MIDNIGHT)])
@pytest.mark.parametrize("counter", [True, False])
def test_the_sum_is_the_meters_whatever_the_machine_tells_of_its_silence(
    tmp_path: Path, silences: tuple[tuple[int, int], ...], counter: bool
) -> None:
    """Of the UTC days, of the hours and of the sessions: as if the meter had never been silent."""
    own = OWN if counter else "\n".join(line for line in OWN.splitlines() if "energy_total" not in line)
    made = built(tmp_path / "silent", said(silences), own=own)
    always = built(tmp_path / "always", said(), own=own)
    behind = START + timedelta(hours=39)
    for name in ("hourly", "sessions"):
        columns = ["start", "end", "electrical_energy_kwh"]
        found, true = (table(one, name).filter(pl.col("end") <= behind).select(columns) for one in (made, always))
        assert found["electrical_energy_kwh"].sum() == pytest.approx(true["electrical_energy_kwh"].sum(), abs=1e-5)
        joined = found.join(true, on=["start", "end"], suffix="_true")
        assert joined.height == true.height
        off = joined["electrical_energy_kwh"] - joined["electrical_energy_kwh_true"]
        assert off.abs().max() < 0.01, "and each nearly so"
    hidden = table(made, "hourly")["electrical_energy_unobserved_kwh"].fill_null(0).sum()
    assert hidden == 0


@pytest.mark.parametrize("counter", [True, False])
def test_heat_of_a_heat_meters_silence_is_shared_as_the_machine_gave_it(tmp_path: Path, counter: bool) -> None:
    """A heat meter that only counts, silent over midnight; the machine's own heat is a tenth too low."""
    own = OWN + ("  thermal_energy_total: {select: warmth, unit: kWh, resolution: 0.001}\n" if counter else "")
    profiles = {"own.yaml": own, "heat.yaml": HEAT_METER}
    meter: list[tuple[str, datetime, float | str]] = []
    device: list[tuple[str, datetime, float | str]] = []
    given = 0.0
    for minute in range(MINUTES):
        now, heat = START + timedelta(minutes=minute), 4 * watts(minute) if watts(minute) > 100 else 0.0
        if not OVER_MIDNIGHT[0] < minute < OVER_MIDNIGHT[1]:
            meter.append(("given", now, round(given, 3) + 700))
        device += [
            ("mode", now, "heating" if heat else "standby"),
            ("runs", now, "on" if heat else "off"),
            ("heat", now, 0.8 * heat),
            ("warmth", now, round(0.9 * given, 3) + 30),
        ]
        given += heat / 60000
    made = house(tmp_path, ("{source: meter, profile: heat.yaml}", DEVICE), profiles)
    store(made, {"meter": readings(meter), "device": readings(device)})
    update(made)
    hours = table(made, "hourly").filter(pl.col("end") <= START + timedelta(hours=39))
    for start, found in hours.select("start", "thermal_energy_kwh").iter_rows():
        first = (start - START) // timedelta(minutes=1)
        true = 4 * sum(watts(minute) for minute in range(first, first + 60) if watts(minute) > 100) / 60000
        assert found == pytest.approx(true, abs=0.03)
    other = "device counter" if counter else "device power"
    silent = hours.filter(pl.col("start").is_between(*(START + timedelta(hours=hour) for hour in (23, 24))))
    assert silent["thermal_method"].to_list() == [f"meter counter, {other}"] * 2
    assert hours["thermal_energy_kwh"].sum() == pytest.approx(
        4 * sum(watts(minute) for minute in range(60 * 39) if watts(minute) > 100) / 60000, abs=2e-3
    )


def test_without_another_way_the_meters_counter_tells_of_its_silence(tmp_path: Path) -> None:
    own = "\n".join(line for line in OWN.splitlines() if "electrical" not in line)
    made = built(tmp_path, said((SILENCE,)), own=own)
    day = table(made, "daily").row(0, named=True)
    assert day["electrical_method"] == "meter counter"
    assert day["electrical_energy_kwh"] == pytest.approx(used_within(0, 60 * 23), rel=0.001)


def fallen(silence: tuple[int, int], by_kwh: float) -> dict[str, pl.DataFrame]:
    """A meter whose counter stands lower behind a silence, as one that was restored from an older copy."""
    what = dict(said((silence,)))
    behind = pl.col("time") > START + timedelta(minutes=silence[1] - 1)
    counts = pl.col("point") == "emdata:0.total_act"
    lower = pl.when(behind & counts).then(pl.col("value") - 1000 * by_kwh).otherwise("value")
    what["meter"] = what["meter"].with_columns(value=lower)
    return what


@pytest.mark.parametrize("silence", [SILENCE, OVER_MIDNIGHT])
@pytest.mark.parametrize("told_by", ["counter", "power"])
def test_of_a_silence_over_which_a_meters_counter_fell_back_the_machine_tells_how_much(
    tmp_path: Path, silence: tuple[int, int], told_by: str
) -> None:
    """What the meter counted meanwhile nobody knows: it is as much as the next way tells, and never nothing."""
    own = OWN if told_by == "counter" else "\n".join(line for line in OWN.splitlines() if "energy_total" not in line)
    made = built(tmp_path, fallen(silence, 8.0), own=own)
    assert set(table(made, "counter_ledger")["kind"]) == {"rollback"}
    row = table(made, "counters").filter(kind="rollback").row(0, named=True)
    assert row["increment"] == 0 and row["over_gap"]
    hours = table(made, "hourly").filter(pl.col("end") <= START + timedelta(hours=39))
    extra = 0.07 if told_by == "counter" else 0.2
    for start, found in hours.select("start", "electrical_energy_kwh").iter_rows():
        first = (start - START) // timedelta(minutes=1)
        unseen = used_within(max(first, silence[0]), min(first + 60, silence[1]))
        assert found == pytest.approx(used_within(first, first + 60) + extra * unseen, abs=0.02)
    within = hours.filter(pl.col("start").is_between(*(START + timedelta(minutes=at) for at in silence), closed="none"))
    assert all(method.endswith(f"device {told_by}") for method in within["electrical_method"])


def test_of_a_silence_over_which_a_counter_fell_back_nothing_is_known_where_nothing_else_tells(tmp_path: Path) -> None:
    own = "\n".join(line for line in OWN.splitlines() if "electrical" not in line)
    made = built(tmp_path, fallen(SILENCE, 8.0), own=own)
    hours = table(made, "hourly").select("start", "electrical_energy_kwh", "electrical_coverage", "electrical_method")
    held, _, unknown = hours.filter(pl.col("start").is_between(*(START + timedelta(hours=at) for at in (9, 11)))).rows()
    assert held[3] == "meter counter, meter power", "without another voice its power is held for an hour"
    assert unknown[1:] == (None, 0.0, None)
    assert table(made, "daily")["electrical_coverage"][0] == pytest.approx(21 / 23, abs=0.002)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_days_of_a_silence_over_which_a_counter_fell_back_end_the_same_in_any_order(
    tmp_path: Path, order: tuple[int, int]
) -> None:
    _ends_the_same(tmp_path, fallen(OVER_MIDNIGHT, 8.0), order, OWN)


def test_a_meters_power_comes_before_the_machines_counter(tmp_path: Path) -> None:
    made = built(tmp_path, said((SILENCE,), counts=False))
    day = table(made, "daily").row(0, named=True)
    assert day["electrical_method"] == "meter power, device counter"
    extra = 0.07 * used_within(*SILENCE)
    assert day["electrical_energy_kwh"] == pytest.approx(used_within(0, 60 * 23) + extra, rel=0.002)
    counted, told = day["electrical_energy_counter_kwh"], day["electrical_energy_integral_kwh"]
    assert counted == pytest.approx(1.07 * used_within(0, 60 * 23), rel=0.002), "the counter stands beside it"
    assert day["electrical_energy_residual_kwh"] == pytest.approx(counted - told, rel=0.02)


def test_the_settings_say_whose_word_counts(tmp_path: Path) -> None:
    """Without a class and beside a meter with one, a machine's own word is no meter's."""
    day = 60 * 23
    for number, (meters, method, factor) in enumerate(
        (
            (STATED.format(accuracy="B", source=", source: meter"), "meter counter", 1.0),
            (STATED.format(accuracy="device", source=", source: device"), "meter counter", 1.07),
            (STATED.format(accuracy="B", source=""), "meter counter", 1.0),
            (
                STATED.format(accuracy="device", source=", source: device")
                + STATED.format(accuracy="B", source=", source: meter")
                .replace("meters:", "")
                .replace("id: m", "id: n"),
                "meter counter",
                1.0,
            ),
        )
    ):
        found = table(built(tmp_path / str(number), said(), meters=meters), "daily").row(0, named=True)
        assert found["electrical_method"].startswith(method)
        assert found["electrical_energy_kwh"] == pytest.approx(factor * used_within(0, day), rel=0.002)


def test_a_class_is_that_of_the_meter_alone(tmp_path: Path) -> None:
    """And of its silences, as to how much. What the machine says of when is seen in hours and sessions that begin or
    end in a silence, and in no day that holds all of it."""
    made = built(tmp_path, said((SILENCE,)), meters=STATED.format(accuracy="B", source=", source: meter"))
    day = table(made, "daily").row(0, named=True)
    assert day["electrical_meter_error_kwh"] == pytest.approx(0.02 * used_within(0, 60 * 23), rel=0.001)
    assert (day["electrical_begin_error_kwh"], day["electrical_end_error_kwh"]) == (0, 0)
    reach = day["electrical_energy_high_kwh"] - day["electrical_energy_kwh"]
    assert 1 <= reach / (1.96 * day["electrical_meter_error_kwh"] / 3**0.5) <= 1.01
    hours = table(made, "hourly").filter(pl.col("electrical_method") == "meter counter, device counter")
    before = [used_within(SILENCE[0], SILENCE[0] + 60 * hour) for hour in range(4)]
    lesser = [min(kwh, before[-1] - kwh) for kwh in before]
    assert hours["electrical_begin_error_kwh"].to_list() == pytest.approx(
        [0, *(0.1 * kwh for kwh in lesser[1:])], abs=0.002
    )
    assert hours["electrical_end_error_kwh"].to_list() == pytest.approx(
        [*(0.1 * kwh for kwh in lesser[1:]), 0], abs=0.002
    )
    errors = [f"electrical_{what}_error_kwh" for what in ("meter", "begin", "end")]
    for high, energy, *parts in hours.select(
        "electrical_energy_high_kwh", "electrical_energy_kwh", *errors
    ).iter_rows():
        assert high - energy == pytest.approx(1.96 * (sum(part**2 for part in parts) / 3) ** 0.5, abs=0.001)


def test_of_a_silence_over_midnight_the_days_beside_it_say_that_it_is_shared(tmp_path: Path) -> None:
    made = built(tmp_path, said((OVER_MIDNIGHT,)), meters=STATED.format(accuracy="B", source=", source: meter"))
    one, other = table(made, "daily").sort("start").to_dicts()
    assert one["electrical_end_error_kwh"] == other["electrical_begin_error_kwh"] > 0
    assert one["electrical_begin_error_kwh"] == other["electrical_end_error_kwh"] == 0
    month = table(made, "monthly").row(0, named=True)
    assert (month["electrical_begin_error_kwh"], month["electrical_end_error_kwh"]) == (0, 0)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
@pytest.mark.parametrize("counts", [True, False])
def test_days_that_come_one_by_one_in_any_order_end_the_same(
    tmp_path: Path, order: tuple[int, int], counts: bool
) -> None:
    """The machine's word on a silence over midnight too, by its counter as by its power alone."""
    own = OWN if counts else "\n".join(line for line in OWN.splitlines() if "energy_total" not in line)
    _ends_the_same(tmp_path, said((SILENCE, OVER_MIDNIGHT)), order, own)


def test_what_a_meter_and_a_machine_tell_late_and_in_pieces_ends_the_same(tmp_path: Path) -> None:
    """Each source by itself, in stretches of five hours in no order, each brought up to date before the next."""
    what = said((SILENCE, OVER_MIDNIGHT))
    whole = built(tmp_path / "whole", what)
    made = house(tmp_path / "pieces")
    pieces = [(source, hour) for hour in range(0, 40, 5) for source in ("meter", "device")]
    Random(4).shuffle(pieces)
    for source, hour in pieces:
        begin = START + timedelta(hours=hour)
        rows = what[source].filter(pl.col("time").is_between(begin, begin + timedelta(hours=5), closed="left"))
        if rows.is_empty():
            continue
        store_readings(made, source, rows)
        update(made, begin.date(), (begin + timedelta(hours=5)).date())
    assert contents(made) == contents(whole)
    assert due(made) == []


def test_what_is_stated_of_meters_makes_figures_due(tmp_path: Path) -> None:
    built(tmp_path, said())
    made = house(tmp_path, meters=STATED.format(accuracy="B", source=", source: meter"))
    stage = FiguresStage(made.plant(PUMP))
    assert stage.due(stage.keys())
    update(made)
    assert due(made) == []


def test_an_hour_in_which_counter_and_power_disagree_is_told_beside_the_newest_hours(tmp_path: Path) -> None:
    """By more than the step of a coarse counter; hours of long ago, which their day has told, do not matter."""
    made = built(tmp_path, said((SILENCE,)))
    hours = table(made, "hourly")

    def verdict(rows: pl.DataFrame) -> tuple[bool, object]:
        (result,) = check_results("hourly", PUMP, rows, Outcome())
        return result.passed, result.metadata["apart"].value

    off = pl.when(pl.col("start") == START + timedelta(hours=20)).then(1.5).otherwise("electrical_energy_residual_kwh")
    wrong = hours.with_columns(electrical_energy_residual_kwh=off)
    step = hours.with_columns(electrical_energy_residual_kwh=pl.lit(0.99))
    later = pl.concat([wrong, hours.with_columns(pl.col("start") + timedelta(days=5))])
    assert verdict(wrong) == (False, 1)
    assert {verdict(rows) for rows in (hours, step, later, hours.clear())} == {(True, 0)}
