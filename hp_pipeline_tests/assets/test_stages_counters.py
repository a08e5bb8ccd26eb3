"""The stage of the counters: any order, batch and repeat of readings ends in the same tables, and nothing is lost."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from random import Random

import polars as pl
import pytest

from hp_pipeline.assets.checks import CHECKS
from hp_pipeline.assets.stages import CountersStage, Outcome, store_readings
from hp_pipeline.assets.workspace import Workspace
from hp_pipeline.settings import load_settings
from hp_pipeline.transforms.schema import conform
from hp_pipeline_tests.assets.house import READINGS, days_at_once, readings

_SETTINGS = """
site: {name: House, time_zone: Europe/Berlin, start: 2024-01-01}
heat_pumps:
  - id: pump
    inputs:
      - {source: meter, profile: shelly_3em}
      - {source: device, profile: luxtronik}
      - {source: solar, profile: solar_heating_v3}
sources: [{id: meter, kind: files}, {id: device, kind: files}, {id: solar, kind: files}]
"""
_TABLES = CountersStage.tables
_START = datetime(2024, 3, 29, 20, tzinfo=UTC)
_TODAY = "homeassistant/sensor/solar_heating_solar_energy_today_kwh/state"


def _house(folder: Path, verdicts: str = "") -> Workspace:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "hp.yaml").write_text(_SETTINGS.replace("    inputs:", f"{verdicts}    inputs:"))
    return Workspace(load_settings(folder / "hp.yaml"), folder / "data")


def _said(seed: int) -> dict[str, pl.DataFrame]:
    """Four days, an outage of three weeks, two more: a meter that is exchanged, a device that dips and falls back, a
    day counter that begins again some minutes after local midnight."""
    random = Random(seed)
    meter: list[tuple[str, datetime, float | str]] = []
    device: list[tuple[str, datetime, float | str]] = []
    solar: list[tuple[str, datetime, float | str]] = []
    energy, heat, rod, today = 1_234_567.0, 500_000, 1000, 0.0
    for step in range(6 * 24 * 6):
        now = _START + timedelta(minutes=10 * step) + (timedelta(days=21) if step > 4 * 24 * 6 else timedelta())
        energy += random.choice([0, 300.5])
        exchanged = step > 3 * 24 * 6
        meter += [
            ("device.mac", now, "B" if exchanged else "A"),
            ("emdata:0.total_act", now, round(energy - 1_200_000 if exchanged else energy, 2)),
        ]
        heat += random.choice([0, 50])
        if step == 4 * 24 * 6 + 1:
            heat -= 4000  # restored from an older copy
        shown = 0 if step in {100, 288, 289} else heat
        rod += random.choice([0, 0, 1])
        device += [("parameter/854", now, float(shown)), ("parameter/1059", now, 77.0), ("parameter/1140", now, rod)]
        local = now + timedelta(hours=2 if now >= datetime(2024, 3, 31, 1, tzinfo=UTC) else 1)
        today = 0.3 if local.hour == 0 and local.minute == 10 else today + random.choice([0, 0.02])
        solar.append((_TODAY, now, round(today, 2)))
    return {"meter": readings(meter), "device": readings(device), "solar": readings(solar)}


def _update(house: Workspace, first: date | None = None, last: date | None = None) -> Outcome:
    made = CountersStage(house.plant("pump"))
    outcome = made.bring_up_to_date(made.keys(first, last))
    outcome.raise_failures()
    return outcome


def _contents(house: Workspace) -> dict[tuple[str, str], str]:
    lake = house.lake
    return {
        (table, key): receipt.content
        for table in _TABLES
        for key in lake.keys(f"{table}/pump")
        if (receipt := lake.receipt(f"{table}/pump", key))
    }


def _table(house: Workspace, name: str) -> pl.DataFrame:
    return conform(house.lake.read(f"{name}/pump", house.lake.keys(f"{name}/pump")), name)


def _built(folder: Path, said: dict[str, pl.DataFrame]) -> Workspace:
    house = _house(folder)
    for source, rows in said.items():
        store_readings(house, source, rows)
    _update(house)
    return house


def test_days_batches_and_repeats_in_any_order_end_in_the_same_tables(tmp_path: Path) -> None:
    for seed in range(3):
        said, random = _said(seed), Random(seed)
        expected = _contents(_built(tmp_path / f"{seed} at once", said))
        house = _house(tmp_path / f"{seed} bit by bit")
        batches = [
            (source, part.sample(fraction=1, shuffle=True, seed=seed))
            for source, rows in said.items()
            for part in rows.with_columns(
                piece=(pl.int_range(pl.len()) * 7 // pl.len() + pl.int_range(pl.len()) % 2)
            ).partition_by("piece", include_key=False)
        ]
        batches += random.sample(batches, 5)
        random.shuffle(batches)
        for source, part in batches:
            keys = sorted(store_readings(house, source, part.select(READINGS.keys())))
            if keys:
                _update(house, date.fromisoformat(keys[0]), date.fromisoformat(keys[-1]))
        assert _contents(house) == expected
        made = CountersStage(house.plant("pump"))
        assert made.due(made.keys()) == []


def test_the_number_of_days_at_once_changes_no_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = _said(7)
    found = []
    for days in (31, 1):
        days_at_once(monkeypatch, days)
        found.append(_contents(_built(tmp_path / str(days), said)))
    assert found[0] == found[1] and len(found[0]) > 15


def test_everything_is_counted_once_and_what_was_altered_is_told(tmp_path: Path) -> None:
    said = _said(11)
    house = _built(tmp_path, said)
    rows, ledger = _table(house, "counters"), _table(house, "counter_ledger")
    meter = said["meter"].filter(pl.col("point") == "emdata:0.total_act").sort("time")["value"]
    steps = meter.diff().drop_nulls()
    counted = rows.filter(pl.col("signal") == "electrical_energy_total")["increment"].sum()
    assert counted == pytest.approx(steps.filter(steps > -1e5).sum() / 1000, abs=1e-9)
    heat = said["device"].filter(pl.col("point") == "parameter/854").sort("time")["value"]
    true = heat.filter(heat > 0).diff().drop_nulls()
    counted = rows.filter(pl.col("signal") == "thermal_energy_heating_total")["increment"].sum()
    assert counted == pytest.approx(true.filter(true > 0).sum() / 100, abs=1e-9)
    rod = rows.filter(pl.col("signal") == "backup_heater_energy_total")
    assert rod["point"].unique().to_list() == ["parameter/1140"] and rod["precedence"].n_unique() == 1
    today = said["solar"].sort("time")["value"]
    grown = today.diff().drop_nulls()
    days_seen = rows.filter(pl.col("signal") == "solar_energy_today")
    # The day of the outage's end began again unseen: all that it shows is its own.
    seen = grown.filter(grown > 0).sum() + 0.3 * int((grown < 0).sum())
    assert days_seen["increment"].sum() >= seen - 1e-9
    assert set(ledger["kind"]) >= {"handover", "dip", "rollback", "day_reset", "outage"}
    over_gap = rows.filter("over_gap")
    assert (over_gap["end"] - over_gap["last_unchanged"]).min() > timedelta(days=20)
    for (_, _), part in rows.sort("end").partition_by("source", "point", as_dict=True).items():
        assert (part["start"].slice(1) >= part["end"].slice(0, part.height - 1)).all()
    passed, told = CHECKS["counter_ledger"]["unaltered"].judge(ledger, Outcome())
    assert not passed and told["of_kind_handover"] == 1


def test_a_new_day_makes_itself_and_the_two_before_it_again(tmp_path: Path) -> None:
    said = _said(3)
    cut = datetime(2024, 4, 2, tzinfo=UTC)
    house = _built(tmp_path, {source: rows.filter(pl.col("time") < cut) for source, rows in said.items()})
    keys: set[str] = set()
    for source, rows in said.items():
        day = rows.filter(pl.col("time") >= cut, pl.col("time") < cut + timedelta(days=1))
        keys |= store_readings(house, source, day).keys()
    outcome = _update(house, date.fromisoformat(min(keys)), date.fromisoformat(max(keys)))
    assert sorted(outcome.stored["counters"]) == ["2024-03-31", "2024-04-01", "2024-04-02"]


def _heat(shown: list[float]) -> pl.DataFrame:
    """A counter of heat that is read every half an hour, over midnight."""
    times = [_START + timedelta(minutes=30 * place) for place in range(len(shown))]
    return readings([("parameter/854", time, 100 * number) for time, number in zip(times, shown, strict=True)])


_MOMENT = _START + timedelta(hours=10)
_FELL = [500.0 + number for number in range(20)] + [120.0 + number for number in range(40)]


@pytest.mark.parametrize(
    ("shown", "told", "kind", "counted"),
    [
        (_FELL, None, "rollback", 19 + 39),
        (_FELL, f"verdict: reset, at: {_MOMENT.isoformat()}", "reset", 19 + 120 + 39),
        (_FELL, f"verdict: skip, at: {(_MOMENT - timedelta(minutes=7)).isoformat()}", "rollback", 19 + 39),
        (
            [500.0] * 20 + [900.0 + number for number in range(40)],
            f"verdict: count, at: {_MOMENT.isoformat()}",
            "counted",
            400 + 39,
        ),
        (
            _FELL[:20] + [120.0] * 8 + [520.0 + number for number in range(30)],
            f"verdict: doubt, at: {_MOMENT.isoformat()}, until: {(_MOMENT + timedelta(hours=3.5)).isoformat()}",
            "doubted",
            19 + 1 + 29,
        ),
    ],
)
def test_the_owner_knows_better(
    tmp_path: Path, shown: list[float], told: str | None, kind: str, counted: float
) -> None:
    asked = _house(
        tmp_path / "asked",
        (told and f"    counter_verdicts: [{{signal: thermal_energy_heating_total, {told}}}]\n") or "",
    )
    store_readings(asked, "device", _heat(shown))
    _update(asked)
    lake = asked.lake
    increments, ledger = (
        conform(lake.read(f"{table}/pump", lake.keys(f"{table}/pump")), table)
        for table in ("counters", "counter_ledger")
    )
    assert increments["increment"].sum() == pytest.approx(counted)
    entries = ledger.filter(pl.col("kind") != "outage").select("kind", "by_owner", "reversible", "exact").rows()
    assert entries == [(kind, told is not None, True, kind != "rollback" or told is not None)]
    alone = _house(
        tmp_path / "alone",
        (told and f"    counter_verdicts: [{{signal: thermal_energy_heating_total, {told}}}]\n") or "",
    )
    for day in (date(2024, 3, 31), date(2024, 3, 30), date(2024, 3, 29)):
        part = _heat(shown).filter(pl.col("time").dt.date() == day)
        if not part.is_empty():
            store_readings(alone, "device", part)
            _update(alone, day, day)
    _update(alone)
    assert _contents(alone) == _contents(asked)


def _over(silence: timedelta, before: float, after: float, point: str, devices: tuple[str, str]) -> pl.DataFrame:
    """A counter at rest, read every ten minutes for hours before a silence over midnight and for hours behind it."""
    first = [_START + timedelta(minutes=10 * place) for place in range(18)]
    second = [first[-1] + silence + timedelta(minutes=10 * place) for place in range(36)]
    said: list[tuple[str, datetime, float | str]] = []
    for times, shown, device in ((first, before, devices[0]), (second, after, devices[1])):
        for time in times:
            said += [(point, time, shown), ("device.mac", time, device)]
    return readings(said)


_METER, _WATER = "emdata:0.total_act", "parameter/854"


@pytest.mark.parametrize("silence", [timedelta(minutes=20), timedelta(hours=5)])
@pytest.mark.parametrize(
    ("source", "point", "shown", "devices", "told", "kind"),
    [
        ("meter", _METER, (812_000.0, 790_000.0), "AA", None, "rollback"),
        ("meter", _METER, (812_000.0, 0.0), "AA", None, "rollback"),
        ("meter", _METER, (812_000.0, 9_812_345.0), "AA", None, "jump"),
        ("meter", _METER, (812_000.0, 790_000.0), "AB", None, "handover"),
        ("meter", _METER, (812_000.0, 813_000.0), "AB", None, "handover"),
        ("meter", _METER, (812_000.0, 813_000.0), "AA", "skip", "owner"),
        ("meter", _METER, (812_000.0, 812_000.0), "AA", "count", None),
        ("meter", _METER, (812_000.0, 812_000.0), "AA", None, None),
        ("device", _WATER, (81_200.0, 80_300.0), "AA", None, "rollback"),
        ("solar", _TODAY, (7.5, 0.0), "AA", None, "day_reset"),
        ("solar", _TODAY, (0.0, 0.0), "AA", None, None),
    ],
)
def test_a_silence_of_which_a_counter_does_not_tell_what_it_counted_is_told(
    tmp_path: Path,
    silence: timedelta,
    source: str,
    point: str,
    shown: tuple[float, float],
    devices: str,
    told: str | None,
    kind: str | None,
) -> None:
    """By a row of its own, so that nobody takes the counter to have stood still; one that did has none. What was lost
    between readings that follow each other as closely as they are to has none either."""
    moment = _START + timedelta(minutes=170)
    word = f"    counter_verdicts: [{{point: {point}, verdict: {told}, at: {moment + silence}}}]\n" if told else ""
    house = _house(tmp_path, word)
    store_readings(house, source, _over(silence, *shown, point, (devices[0], devices[1])))
    _update(house)
    rows = _table(house, "counters")
    assert rows["increment"].sum() == 0
    if kind is None or silence < timedelta(hours=1):
        assert rows.is_empty()
    else:
        assert rows.select("kind", "over_gap", "last_unchanged", "end").rows() == [
            (kind, True, moment, moment + silence)
        ]


def test_a_verdict_makes_its_day_again_and_those_that_it_changes(tmp_path: Path) -> None:
    many = [500.0 + number for number in range(48 * 6)]
    house = _house(tmp_path)
    store_readings(house, "device", _heat(many))
    _update(house)
    told = "    counter_verdicts: [{point: parameter/854, verdict: doubt, at: 2024-03-31T06:00:00Z}]\n"
    house = _house(tmp_path, told)
    made = CountersStage(house.plant("pump"))
    outcome = made.bring_up_to_date(made.keys())
    outcome.raise_failures()
    # Its own, the one before it, which looks at it, and the one that is counted on from it.
    assert sorted(outcome.stored["counters"]) == ["2024-03-30", "2024-03-31", "2024-04-01"]
