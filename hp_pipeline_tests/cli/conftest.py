"""The commands, called in this process, and a house to call them on."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hp_pipeline.cli import cli
from hp_pipeline_tests.assets.small_house import house_with_readings, make_all
from hp_pipeline_tests.sources.conftest import influx_server

__all__ = ["influx_server"]

Call = Callable[..., Result]


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a house with all its tables; read it only."""
    folder = tmp_path_factory.mktemp("made")
    make_all(house_with_readings(folder))
    return folder


@pytest.fixture
def house(made: Path, tmp_path: Path) -> Path:
    """The folder of such a house, to change."""
    shutil.copytree(made, tmp_path / "house")
    return tmp_path / "house"


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Call:
    """Calls a command on a house (or on none) and returns what it said. Nothing of the environment plays a part."""
    for name in ("HP_SETTINGS", "HP_DATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)

    def call(house: Path | None, *arguments: object, input: str | None = None) -> Result:
        words = [str(argument) for argument in arguments]
        places = ["--settings", str(house / "hp.yaml"), "--data", str(house / "data")] if house else []
        result = CliRunner().invoke(cli, [*words, *places], input=input)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return call
