"""Loading the definitions: quickly, and touching nothing but the settings file."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from hp_pipeline.assets.describe import asset_key
from hp_pipeline.assets.stages import tables_of
from hp_pipeline.definitions import build_definitions, defs
from hp_pipeline.vocabulary.tables import tables
from hp_pipeline_tests.assets.small_house import write_house
from hp_pipeline_tests.settings.house import ENVIRONMENT, HOUSE

WATCHED = """
import json, os, sys
opened, written, listed, sockets, clocks = [], [], [], [], []
SETTINGS = os.environ["HP_SETTINGS"]
DATA = os.environ["HP_DATA"]
CODE = os.environ["CODE"]
PROFILE = os.environ["PROFILE"]
def hook(event, arguments):
    if event == "open":
        path, mode, flags = arguments
        path = path if isinstance(path, str) else str(path)
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) and path != os.devnull:
            written.append(path)
        opened.append(path)
    elif event in ("os.listdir", "os.scandir"):
        listed.append(str(arguments[0]))
    elif event.startswith("socket.") and event != "socket.__new__" and event != "socket.gethostname":
        sockets.append(event)
def profiled(frame, event, argument):
    if event == "c_call" and frame.f_code.co_filename.startswith(CODE):
        module, name = getattr(argument, "__module__", "") or "", getattr(argument, "__qualname__", "")
        if name in ("datetime.now", "datetime.utcnow", "datetime.today", "date.today") or module == "time":
            clocks.append(f"{frame.f_code.co_filename}:{frame.f_lineno} {name}")
sys.addaudithook(hook)
sys.setprofile(profiled)
from hp_pipeline.definitions import defs
definitions = defs()
repository = definitions.get_repository_def()
sys.setprofile(None)
print(json.dumps({
    "jobs": sorted(job.name for job in repository.get_all_jobs()),
    "opened": [path for path in opened if path in (SETTINGS, PROFILE)],
    "elsewhere": [path for path in opened if path.startswith(os.path.dirname(SETTINGS)) and path != SETTINGS
                  and path != PROFILE],
    "written": written, "listed": [path for path in listed if path.startswith(DATA)],
    "sockets": sockets, "clocks": clocks,
    "heavy": [name for name in ("influxdb_client", "matplotlib", "alembic", "sqlalchemy.orm") if name in sys.modules],
}))
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Settings with a database and files, a profile of the owner's own, and a data folder that is not there."""
    folder = tmp_path / "place"
    folder.mkdir()
    own = folder / "own.yaml"
    own.write_text(
        "name: own\ndescription: of this house\nsignals:\n"
        "  outdoor_temperature: {select: {measurement: °C, tags: {entity_id: outdoor}}, unit: °C}\n",
        encoding="utf-8",
    )
    text = HOUSE.replace("    inputs:\n", "    inputs:\n      - source: old_files\n        profile: own.yaml\n", 1)
    (folder / "hp.yaml").write_text(text, encoding="utf-8")
    return {
        **os.environ,
        **ENVIRONMENT,
        "HP_SETTINGS": str(folder / "hp.yaml"),
        "HP_DATA": str(folder / "data"),
        "PROFILE": str(own),
        "CODE": str(Path(__file__).parent.parent / "hp_pipeline") + os.sep,
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONWARNINGS": "error::dagster.BetaWarning",
    }


def test_definitions_touch_nothing_but_the_settings(environment: dict[str, str]) -> None:
    done = subprocess.run([sys.executable, "-c", WATCHED], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert "keep_up_influx" in seen["jobs"]
    assert {*seen["opened"]} == {environment["HP_SETTINGS"], environment["PROFILE"]}
    rest = {name: seen[name] for name in ("elsewhere", "written", "listed", "sockets", "clocks", "heavy")}
    assert rest == {"elsewhere": [], "written": [], "listed": [], "sockets": [], "clocks": [], "heavy": []}
    assert not Path(environment["HP_DATA"]).exists()


def test_definitions_load_in_two_seconds(environment: dict[str, str]) -> None:
    environment.pop("PYTHONDONTWRITEBYTECODE")

    def seconds(code: str) -> float:
        """Time of the processor for a fresh process; that of the clock depends on what else the machine does."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-W", "ignore", "-c", code], env=environment, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    needed = min(seconds("from hp_pipeline.definitions import defs; defs().get_repository_def()") for _ in range(3))
    # On a machine that is slow, or has too much to do, Dagster alone takes longer, too.
    dagster = min(seconds("import dagster") for _ in range(2))
    assert needed < max(2, 3 * dagster), f"a fresh process needs {needed:.1f} s, of which Dagster {dagster:.1f} s"


def test_definitions_are_what_the_services_load(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HP_SETTINGS", "HP_DATA", "INFLUXDB_TOKEN"):
        monkeypatch.setenv(name, environment[name])
    loaded = defs()
    dg.Definitions.validate_loadable(loaded)
    token = environment["INFLUXDB_TOKEN"]
    repository = loaded.get_repository_def()
    graph = repository.asset_graph
    shown = [str(graph.get(key).metadata) + str(graph.get(key).description) for key in graph.get_all_asset_keys()]
    assert not any(token in text for text in shown)


def test_without_settings_the_message_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HP_SETTINGS", raising=False)
    with pytest.raises(FileNotFoundError, match="hp-pipeline run"):
        defs()


def _name(key: dg.AssetKey) -> str:
    """`daikin_daily` → `daily/daikin`."""
    whose = max(
        (name for name in ("daikin", "annex", "files_a", "files_b") if key.path[-1].startswith(f"{name}_")), key=len
    )
    return f"{key.path[-1].removeprefix(f'{whose}_')}/{whose}"


def test_graph_reads_like_the_way_of_the_data(tmp_path: Path) -> None:
    """Every asset of a heat pump: its group, its kinds, a description, the columns of its table, its neighbours."""
    workspace = write_house(tmp_path)
    graph = build_definitions(workspace).get_repository_def().asset_graph
    groups = {_name(key): graph.get(key).group_name for key in graph.get_all_asset_keys()}
    assert {groups[f"readings/{source}"] for source in ("files_a", "files_b")} == {"1_readings"}
    for plant in workspace.plants:
        for table in tables_of(plant):
            node = graph.get(asset_key(table, plant.id))
            assert node.description
            assert node.owners == ["team:house"]
            assert "parquet" in node.kinds
            schema = node.metadata["dagster/column_schema"]
            columns = [column.name for column in schema.columns]
            assert columns == [column.name for column in tables()[table].columns]
    upstream = {
        name: {_name(parent) for parent in graph.get(asset_key(*name.split("/"))).parent_keys} for name in groups
    }
    assert upstream["frames/daikin"] == {"readings/files_a"}
    assert upstream["operation/daikin"] == {"frames/daikin"}
    assert upstream["segments/daikin"] == upstream["hourly/daikin"] == {
        "frames/daikin", "operation/daikin", "counters/daikin", "counter_states/daikin"
    }  # fmt: skip
    assert upstream["sessions/annex"] == {"segments/annex"}
    assert upstream["daily/annex"] == {"hourly/annex"}
    assert [upstream[f"{name}/annex"] for name in ("weekly", "monthly", "yearly", "all_time")] == [
        {"daily/annex"}, {"daily/annex"}, {"monthly/annex"}, {"yearly/annex"}
    ]  # fmt: skip
    shown = ("frames/annex", "sessions/annex", "all_time/annex", "costs_daily/annex", "daily_csv/annex")
    assert [groups[name] for name in shown] == ["2_frames", "4_events", "5_performance", "6_costs", "7_outputs"]


def test_a_day_follows_from_the_days_around_it(tmp_path: Path) -> None:
    graph = build_definitions(write_house(tmp_path)).get_repository_def().asset_graph
    day = graph.get(asset_key("frames", "daikin")).partitions_def
    assert isinstance(day, dg.DailyPartitionsDefinition)
    for child, parent, before, after in (
        ("frames/daikin", "readings/files_a", 1, 1),
        ("operation/daikin", "frames/daikin", 1, 1),
        ("segments/daikin", "operation/daikin", 1, 1),
        ("sessions/daikin", "segments/daikin", 1, 1),
        ("daily/daikin", "hourly/daikin", 1, 1),
    ):
        child_key, parent_key = (asset_key(*name.split("/")) for name in (child, parent))
        mapping = graph.get_partition_mapping(child_key, parent_key)
        subset = day.subset_with_partition_keys(["2025-01-20"])
        found = mapping.get_upstream_mapped_partitions_result_for_partitions(subset, day, day)
        expected = [f"2025-01-{20 + shift}" for shift in range(-before, after + 1)]
        assert sorted(found.partitions_subset.get_partition_keys()) == expected, child
    first = mapping.get_upstream_mapped_partitions_result_for_partitions(
        day.subset_with_partition_keys(["2025-01-12"]), day, day
    )
    assert sorted(first.partitions_subset.get_partition_keys()) == ["2025-01-12", "2025-01-13"]
