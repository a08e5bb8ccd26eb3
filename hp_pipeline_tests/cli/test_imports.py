"""`hp-pipeline import luxtronik` and `import hpmanager`."""

from __future__ import annotations

import json
import struct
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from hp_pipeline.assets.workspace import open_lake
from hp_pipeline.settings import load_settings
from hp_pipeline.simulation.devices.luxtronik import LuxtronikDevice
from hp_pipeline.simulation.devices.world import House
from hp_pipeline.sources.luxtronik.wire import Picture
from hp_pipeline.vocabulary.luxtronik import Group
from hp_pipeline_tests.cli.conftest import Call
from hp_pipeline_tests.simulation.devices.conftest import START, house, winter_run
from hp_pipeline_tests.sources.luxtronik.conftest import CAPTURES
from hp_pipeline_tests.sources.luxtronik.test_imports import cache_of
from hp_pipeline_tests.sources.modbus.test_hpmanager import COLLECTOR, PUMPS, REGISTERS

__all__ = ["house", "winter_run"]

SETTINGS = """\
site: {name: House, time_zone: Europe/Berlin, start: 2024-01-15}
heat_pumps: [{id: novelan, inputs: [{source: controller, profile: luxtronik}]}]
sources:
  - {id: controller, kind: luxtronik, host: 192.0.2.10}
  - {id: meter, kind: shelly, host: 192.0.2.11}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A house with a controller, and nothing stored."""
    found = tmp_path / "house"
    found.mkdir()
    (found / "hp.yaml").write_text(SETTINGS)
    (found / "data").mkdir()
    return found


def stored(folder: Path) -> pl.DataFrame:
    lake = open_lake(folder / "data")
    asset = "readings/controller"
    rows = lake.read(asset, lake.keys(asset))
    return pl.DataFrame() if rows is None else rows


def dump(folder: Path, picture: Picture) -> Path:
    """The raw answers of a controller, a file for each."""
    folder.mkdir()
    for command, group in ((3003, Group.parameter), (3004, Group.calculation), (3005, Group.visibility)):
        values = picture.values(group)
        head = (command, 0, len(values)) if command == 3004 else (command, len(values))
        code = "b" if command == 3005 else "i"
        content = struct.pack(f">{len(head)}i{len(values)}{code}", *head, *values)
        (folder / f"house_{command}").write_bytes(content)
    return folder


def test_dumps_and_the_cache_of_the_logger(house: House, folder: Path, tmp_path: Path, call: Call) -> None:
    device = LuxtronikDevice(house)
    noon = START + timedelta(hours=36)
    moments = [START + timedelta(hours=23, minutes=50, seconds=60 * place) for place in range(20)]
    pictures = {moment: Picture(*device.values(moment)) for moment in (noon, *moments)}
    answers = dump(tmp_path / "answers", pictures[noon])
    integers = tmp_path / "integers.json"
    integers.write_text(
        json.dumps({c: list(pictures[noon].values(g)) for c, g in zip(("3003", "3004", "3005"), Group, strict=True)})
    )
    cache = cache_of(tmp_path, [(moment, pictures[moment]) for moment in moments])
    words = ["import", "luxtronik", answers, integers, cache, "--source", "controller"]

    first = call(folder, *words)
    assert first.exit_code == 0, first.output
    assert "2 days of readings changed" in first.stdout
    assert "nothing new" in first.stderr  # the second form of the same dump
    rows = stored(folder)
    flow = dict(rows.filter(point="calculation/10").select("time", "value").iter_rows())
    assert flow[noon] == pictures[noon].calculations[10]
    assert flow[moments[0]] == pictures[moments[0]].calculations[10]
    assert not rows.filter(pl.col("point").is_in([f"parameter/{index}" for index in range(755, 761)])).height

    again = call(folder, *words)
    assert again.exit_code == 0 and again.stdout.startswith("0 days of readings changed")
    assert stored(folder).equals(rows)


def test_what_is_wrong_with_a_recording_is_said(house: House, folder: Path, tmp_path: Path, call: Call) -> None:
    good = dump(tmp_path / "good", Picture(*LuxtronikDevice(house).values(START + timedelta(hours=2))))
    bad = tmp_path / "notes.txt"
    bad.write_text("nothing of the kind")
    answer = call(folder, "import", "luxtronik", bad, good, "--source", "controller")
    assert answer.exit_code == 1
    assert "notes.txt is no dump of a Luxtronik controller" in answer.stderr
    assert "1 days of readings changed" in answer.stdout

    early = call(folder, "import", "luxtronik", good, "--source", "controller", "--time", "2020-05-01 12:00")
    assert early.exit_code == 0
    assert "no readings" in early.stderr and "an earlier `site.start` takes them" in early.stderr
    ahead = datetime.now(UTC) + timedelta(days=3)
    late = call(folder, "import", "luxtronik", good, "--source", "controller", "--time", f"{ahead:%Y-%m-%dT%H:%M}")
    assert "in the future" in late.stderr and late.stdout.startswith("0 days")

    assert "a source of kind luxtronik takes these" in (
        call(folder, "import", "luxtronik", good, "--source", "meter").stderr
    )
    assert "no such time zone" in (
        call(folder, "import", "luxtronik", good, "--source", "controller", "--time-zone", "Berlin/Mitte").stderr
    )
    assert call(folder, "import", "luxtronik", good, "--source", "nobody").exit_code == 1


@pytest.mark.skipif(not CAPTURES.exists(), reason="the recordings are not beside the repository; others are above")
def test_the_recordings_at_hand(folder: Path, call: Call) -> None:
    early = SETTINGS.replace("2024-01-15", "2015-01-01")
    (folder / "hp.yaml").write_text(early)
    recordings = [CAPTURES / "coolchip_3003", *sorted(CAPTURES.glob("*.json"))]
    answer = call(folder, "import", "luxtronik", *recordings, "--source", "controller")
    assert answer.exit_code == 0, answer.output
    rows = stored(folder)
    assert (
        rows.filter(point="calculation/10", time=datetime(2017, 7, 26, 11, 40, 33, tzinfo=UTC))["value"].item() == 342
    )
    assert rows.filter(point="parameter/854")["value"].to_list().count(877270.0) == 1


def test_hpmanager(folder: Path, tmp_path: Path, call: Call) -> None:
    config = tmp_path / "config"
    config.mkdir()
    for name, text in {"registers": REGISTERS, "heatpumps": PUMPS, "collector": COLLECTOR}.items():
        (config / f"{name}.yml").write_text(text)
    answer = call(folder, "import", "hpmanager", config, "--to", "own/maps")
    assert answer.exit_code == 0, answer.output
    assert (folder / "own" / "maps" / "stiebel_eltron_wpm_map.yaml").exists()
    assert "note: stiebel_eltron_wpm: HPManager keeps only the day's energies" in answer.stdout
    assert "secret" not in answer.output
    site = "site: {name: House, time_zone: Europe/Berlin, start: 2024-01-15}\n"
    (folder / "hp.yaml").write_text(site + answer.stdout.partition("For hp.yaml:\n")[2])
    assert [pump.id for pump in load_settings(folder / "hp.yaml").heat_pumps] == ["hp_1", "hp2"]

    assert call(folder, "import", "hpmanager", config, "--to", "own/maps").exit_code == 0
    (folder / "own" / "maps" / "other_map.yaml").write_text("# mine\n")
    again = call(folder, "import", "hpmanager", config, "--to", "own/maps")
    assert again.exit_code == 1 and "other_map.yaml: there already, with another content" in again.stderr
    (config / "registers.yml").write_text("models: {}")
    assert "has no `models`" in call(folder, "import", "hpmanager", config).stderr
