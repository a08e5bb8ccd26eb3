"""What the repository promises about itself: the lock, the set-up, who may know whom."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from dagster import DagsterInstance
from grimp import build_graph
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from hp_pipeline_tests.rooms_contract import Room, RoomsContract

REPOSITORY = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
LOCKS = {
    "requirements.lock": PROJECT["project"]["dependencies"],
    "requirements-dev.lock": [
        *PROJECT["project"]["dependencies"],
        *PROJECT["project"]["optional-dependencies"]["dev"],
    ],
}


def pins(lock: str) -> list[tuple[Requirement, str]]:
    """The requirements of a lock, each with the lines of its hashes."""
    text = (REPOSITORY / lock).read_text(encoding="utf-8").replace("\\\n", " ")
    return [
        (Requirement(line.partition(" --hash=")[0]), line.partition(" --hash=")[2])
        for line in text.splitlines()
        if line.strip() and not line.startswith("#")
    ]


@pytest.mark.parametrize("lock", LOCKS)
def test_the_lock_pins_everything_with_hashes_and_names_no_place(lock: str) -> None:
    text = (REPOSITORY / lock).read_text(encoding="utf-8")
    assert not re.search(r"://|^-|^\s*--(?!hash=sha256:)|find-links|index-url|/", text, re.MULTILINE)
    for requirement, hashes in pins(lock):
        assert re.fullmatch(r"==[^=*]+", str(requirement.specifier)), requirement
        assert "sha256:" in hashes, requirement


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("lock", LOCKS)
def test_the_lock_satisfies_what_the_project_asks_for(lock: str, python: str) -> None:
    here = {"python_version": python, "python_full_version": f"{python}.0", "sys_platform": "linux"}
    locked: dict[str, str] = {}
    for requirement, _ in pins(lock):
        if requirement.marker is None or requirement.marker.evaluate(here):
            name = canonicalize_name(requirement.name)
            assert name not in locked, f"{name} is pinned twice for Python {python}"
            locked[name] = str(requirement.specifier).removeprefix("==")
    for wanted in map(Requirement, [*LOCKS[lock], *PROJECT["build-system"]["requires"]]):
        version = locked.get(canonicalize_name(wanted.name))
        assert version, f"{wanted.name} is not in {lock}: run `make lock`"
        assert wanted.specifier.contains(version), (
            f"{lock} has {wanted.name} {version}, wanted {wanted}: run `make lock`"
        )


def test_both_locks_hold_the_same_versions() -> None:
    runtime = {str(requirement) for requirement, _ in pins("requirements.lock")}
    assert runtime <= {str(requirement) for requirement, _ in pins("requirements-dev.lock")}


def test_the_set_up_can_tell_an_old_python_that_it_is_too_old() -> None:
    source = (REPOSITORY / "scripts" / "setup").read_text(encoding="utf-8")
    ast.parse(source, feature_version=(3, 6))
    pretend = "import sys; sys.version_info = (3, 9, 2); sys.argv = ['setup']; __file__ = 'scripts/setup'\n"
    run = [sys.executable, "-c", f"{pretend}exec(open('scripts/setup').read())"]
    told = subprocess.run(run, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert told.returncode == 1
    assert "needs Python 3.11 to 3.14" in told.stderr and "make run PYTHON=" in told.stderr


def test_make_says_what_it_can_do_and_which_python_is_missing() -> None:
    said = subprocess.run(["make", "help"], cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    for command in ("make run", "make test", "make bench", "make clean"):
        assert command in said
    missing = subprocess.run(
        ["make", "setup", "PYTHON=no-such-python"], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert missing.returncode != 0
    assert "no-such-python" in missing.stderr and "Python 3.11 or newer" in missing.stderr


def test_dagster_accepts_its_settings(tmp_path: Path) -> None:
    shipped = (REPOSITORY / "dagster.yaml").read_bytes()
    assert (REPOSITORY / "hp_pipeline" / "services" / "dagster.yaml").read_bytes() == shipped
    (tmp_path / "dagster.yaml").write_bytes(shipped)
    with DagsterInstance.from_config(str(tmp_path)) as instance:
        assert instance.run_retries_enabled and instance.run_monitoring_enabled
        assert not instance.telemetry_enabled
        assert instance.get_concurrency_config().pool_config.default_pool_limit == 1
        assert instance.get_concurrency_config().run_queue_config.max_concurrent_runs == 2
    (place,) = yaml.safe_load((REPOSITORY / "workspace.yaml").read_text())["load_from"]
    assert place["grpc_server"]["host"] == "127.0.0.1"


def test_a_line_of_the_table_of_rooms() -> None:
    assert Room.parse("lake: never dagster httpx") == Room("lake", frozenset(), frozenset({"dagster", "httpx"}))
    assert Room.parse("sources: vocabulary settings") == Room(
        "sources", frozenset({"vocabulary", "settings"}), frozenset()
    )


def test_an_import_against_the_table_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "toy_house"
    for name, text in {
        "__init__": "",
        "kitchen/__init__": "from toy_house.cellar import wine\nimport socket\n",
        "cellar/__init__": "",
        "cellar/wine": "from toy_house.kitchen import stove\n",
        "kitchen/stove": "",
        "attic": "",
    }.items():
        path = package / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    graph = build_graph("toy_house", include_external_packages=True, cache_dir=None)
    contract = RoomsContract(
        name="toy",
        session_options={},
        contract_options={
            "package": "toy_house",
            "rooms": ["kitchen: cellar never socket", "cellar:", "garage: kitchen"],
        },
    )
    check = contract.check(graph, verbose=False)
    assert not check.kept
    assert check.metadata["illegal"] == [
        "toy_house.cellar.wine imports toy_house.kitchen.stove (line 1)",
        "toy_house.kitchen imports socket (line 2)",
        "toy_house.attic is in no line of the table: say whom it may know",
    ]
