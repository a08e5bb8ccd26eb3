"""The street served in the present: every device answers its real client, and what goes wrong is logged and scored."""

import asyncio
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from hp_pipeline.assets.stages import stages, store_readings
from hp_pipeline.assets.workspace import Workspace, open_lake
from hp_pipeline.cli.street import score_faults, score_solar_heating
from hp_pipeline.landing.collector import Collector, Patience
from hp_pipeline.landing.ledger import CallLedger
from hp_pipeline.landing.recorder import Recorder
from hp_pipeline.landing.service import live_source
from hp_pipeline.landing.store import Landing
from hp_pipeline.settings import load_settings
from hp_pipeline.simulation.street.history import of_solar
from hp_pipeline.simulation.street.houses import BEFORE, PORTS
from hp_pipeline.simulation.street.making import prepare_street
from hp_pipeline.simulation.street.plan import free_ports, is_served, load_plan, new_plan, settings_of
from hp_pipeline.simulation.street.server import Street, solar_house
from hp_pipeline.simulation.street.trouble import EXPECTED, Faults, Troublemaker, troubles
from hp_pipeline.simulation.street.truth import compare, true_energy, write_truth
from hp_pipeline_tests.simulation.street.conftest import with_own_ports

FAULTS = {"luxtronik": "busy", "isg": "garbage", "isg_neighbour": "slow", "vicare": "device_offline", "shelly": "html"}


@pytest.fixture
def street(made: Path, tmp_path: Path) -> Street:
    """A street of its own, to be served."""
    shutil.copytree(made, tmp_path / "data")
    with_own_ports(tmp_path / "data")
    plan = prepare_street(tmp_path / "data", tmp_path / "data" / "hp.yaml", datetime.now(UTC), 1)
    return Street(plan, tmp_path / "data")


async def watched(street: Street) -> datetime:
    """The collector asks every device, which then does something wrong, several times; gives when it was stopped."""
    settings = load_settings(street.data / "hp.yaml")
    ledgers: dict[str, list[CallLedger]] = {}
    with Landing(street.data) as landing:
        recorder = Recorder(landing)
        collector = Collector(recorder, patience=Patience(retry_first=0.05, failures=100))
        writing = asyncio.ensure_future(recorder.run())
        sources = [live_source(settings.source(id_), settings, landing, ledgers) for id_ in (*FAULTS, "solar_heating")]
        brisk = [replace(one, every=timedelta(seconds=1) if one.every else None) for one in sources]
        async with street.serving():
            await collector.use(brisk)
            good = [task.life for task in collector.tasks.values()]
            for _ in range(200):
                await asyncio.sleep(0.1)
                if all(life.outcomes["ok"] for life in good):
                    break
                if street.publisher is not None and street.publisher.published:
                    street.publisher.publish()
            assert all(life.outcomes["ok"] for life in good), [life.what for life in good]
            maker = Troublemaker(street.data, Faults(), street.victims())
            for victim in street.victims():
                if victim.source in FAULTS:
                    # So often that a poll with its retries cannot get round it; slow ones must end in time.
                    for _ in range(2 if FAULTS[victim.source] == "slow" else 6):
                        victim.inject(FAULTS[victim.source])
            await asyncio.sleep(4)
            assert maker.log() >= len(FAULTS)
            stopped = datetime.now(UTC)
            await collector.stop()
        await recorder.flush(2)
        writing.cancel()
        recorder.close()
    return stopped


def test_every_device_answers_and_its_faults_are_seen_as_they_are(street: Street) -> None:
    stopped = asyncio.run(watched(street))
    made = troubles(street.data)
    assert {trouble.source: trouble.fault for trouble in made} == FAULTS
    scored = score_faults(street.data, load_settings(street.data / "hp.yaml"))
    assert scored.height == len(made)
    scored = scored.filter(pl.col("time") < stopped - timedelta(seconds=1.5))  # polls that had the time to end
    assert set(scored["verdict"]) <= {"right", "healed"}, scored.filter(pl.col("verdict") == "wrong")
    seen = scored.filter(pl.col("verdict") == "right")
    assert {"isg_neighbour", "vicare", "luxtronik"} <= set(seen["source"]), scored
    assert set(seen.filter(source="vicare")["expected"]) == {"offline"}


def test_as_a_process_it_answers_until_it_is_told_to_end(street: Street) -> None:
    command = [sys.executable, "-m", "hp_pipeline.simulation.street", "--data", str(street.data)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 60
        while not is_served(street.data):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.1)
        second = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert second.returncode == 1
        assert "the street cannot answer" in second.stderr
    finally:
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=20)
    assert process.returncode == 0, said
    assert "Traceback" not in said


def test_the_truth_of_every_day_is_kept_and_compared(street: Street) -> None:
    life, now = street.lives["daikin"], street.plan.began
    assert write_truth(street.data, "daikin", life, now) == 2
    assert write_truth(street.data, "daikin", life, now) == 1, "only the present day is written again"
    energy = true_energy(street.data, "daikin")
    whole = life.counter("electrical_energy_total", now) - life.counter("electrical_energy_total", life.start)
    assert energy["electrical_energy_kwh"].sum() == pytest.approx(whole)
    first = energy["period"][0]
    electricity = energy["electrical_energy_kwh"][0]
    for method, true in (("device counter", electricity), ("device power", electricity / 2)):
        daily = pl.DataFrame(
            {"period": [str(first)], "electrical_energy_kwh": [electricity * 1.1], "electrical_method": [method]}
        )
        measured = {"electrical_energy_kwh": (pl.col("electrical_energy_kwh"), pl.col("electrical_energy_kwh") / 2)}
        both = compare(energy.with_columns(complete=True), daily, measured)
        assert both["electrical_energy_kwh_true"][0] == pytest.approx(true)
        assert both["electrical_energy_kwh_error_percent"].to_list() == [
            pytest.approx(100 * (electricity * 1.1 / true - 1)),
            None,
        ]
    with pytest.raises(FileNotFoundError, match="no truth of stiebel"):
        true_energy(street.data, "stiebel")


def test_the_solar_heating_is_scored_hour_by_hour(street: Street) -> None:
    plan = street.plan
    assert score_solar_heating(street.data, open_lake(street.data)) == ([], None), "nothing was found yet"
    workspace = Workspace(load_settings(street.data / "hp.yaml"), street.data)
    told = of_solar(solar_house(plan, plan.began), plan.start, plan.began)
    store_readings(workspace, BEFORE, told)
    for stage in stages(workspace.solar_plant("solar")):
        stage.bring_up_to_date(stage.keys()).raise_failures()
    rows, allowed = score_solar_heating(street.data, workspace.lake)
    assert [row[0] for row in rows] == ["solar", "immersion", "pellet", "draw"]
    assert allowed is not None and "every 5 min" in allowed and "solar 24 %" in allowed
    for _, hours, found, true, *_ in rows:
        assert int(hours) >= 21, "a day but for the hours at its ends"
        assert float(found) == pytest.approx(float(true), rel=0.3, abs=1.0)
    assert float(rows[3][3]) > 3, "somebody took hot water"


def test_a_street_that_was_away_goes_on_at_the_present_and_at_another_speed(street: Street) -> None:
    life = street.lives["novelan"]
    past = {moment: dict(life.at(moment)) for moment in (life.start, street.plan.began - timedelta(minutes=5))}
    now = datetime.now(UTC)
    fast = Street(street.plan, street.data, speed=60)
    fast.begin()
    again = fast.lives["novelan"]
    assert {moment: dict(again.at(moment)) for moment in past} == past
    assert again.stretches[-1].speed == 60
    assert again.end >= now + timedelta(hours=3)
    later = Street(street.plan, street.data, speed=60)
    later.begin()
    kept = later.lives["novelan"].stretches[: len(again.stretches)]
    assert kept == again.stretches, "the same speed: nothing is lived anew"


def test_the_settings_are_right_and_name_every_device(tmp_path: Path) -> None:
    plan = new_plan(datetime(2025, 1, 20, 8, 0, 3, tzinfo=UTC), 14)
    path = tmp_path / "hp.yaml"
    for chosen, sources in ((plan, 9), (replace(plan, mqtt="5"), 9), (replace(plan, mqtt=None), 8)):
        for speed in (1, 60):
            path.write_text(settings_of(chosen, speed), encoding="utf-8")
            settings = load_settings(path)
            assert len(settings.sources) == sources
            assert {meter.heat_pump for meter in settings.meters} == {pump.id for pump in settings.heat_pumps}
            assert settings.site.start == date(2025, 1, 6)
    with pytest.raises(ValueError, match="needs a day"):
        new_plan(datetime.now(UTC), 0)


def test_a_port_that_somebody_took_is_replaced_in_the_settings(street: Street) -> None:
    port = street.plan.ports["shelly"]
    with socket.socket() as somebody:
        somebody.bind(("127.0.0.1", port))
        somebody.listen()
        plan = prepare_street(street.data, street.data / "hp.yaml", datetime.now(UTC), 1)
    assert plan.ports["shelly"] != port
    assert f"port: {plan.ports['shelly']}" in (street.data / "hp.yaml").read_text(encoding="utf-8")
    assert load_plan(street.data) == plan
    assert {name: one for name, one in plan.ports.items() if name != "shelly"} == {
        name: one for name, one in street.plan.ports.items() if name != "shelly"
    }
    assert len(set(free_ports({}).values())) == len(PORTS)


@pytest.mark.parametrize(
    ("text", "every", "kinds"),
    [
        ("none", None, ()),
        ("5min", timedelta(minutes=5), ()),
        (
            "30s luxtronik:busy modbus:close_mid-answer",
            timedelta(seconds=30),
            ("luxtronik:busy", "modbus:close_mid-answer"),
        ),
    ],
)
def test_which_faults_are_made(text: str, every: timedelta | None, kinds: tuple[str, ...]) -> None:
    assert Faults.parse(text) == Faults(every, kinds)
    assert Faults.parse(str(Faults.parse(text))) == Faults(every, kinds)


@pytest.mark.parametrize("text", ["often", "5", "5min luxtronik", "5min shelly:melts", "0s"])
def test_what_is_no_plan_of_faults_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"write none, or a duration such as 5min|is not one of luxtronik:stall"):
        Faults.parse(text)


def test_every_fault_that_is_expected_can_be_made(street: Street) -> None:
    async def all_of_them() -> None:
        async with street.serving():
            for victim in street.victims():
                for fault in EXPECTED[victim.kind]:
                    victim.inject(fault)
                assert len(victim.made()) == 0

    asyncio.run(all_of_them())
