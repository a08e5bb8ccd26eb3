"""What the README and the pages beside it say is true: links, commands, options, the settings to copy."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from hp_pipeline.cli import GROUPINGS, cli
from hp_pipeline.settings import load_settings
from hp_pipeline.vocabulary.tables import tables

REPOSITORY = Path(__file__).parent.parent
PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]
README = PAGES[0].read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", text):
        assert (page.parent / target).exists(), f"{page.name}: {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_and_options_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for line in re.findall(r"hp-pipeline ([a-z][^`\n#]*)", text):
        words = line.split()
        assert words[0] in cli.commands, line
        command = cli.commands[words[0]]
        if isinstance(command, click.Group) and command.no_args_is_help:
            command = command.commands.get(" ".join(words[1:2]), command.commands.get("files", command))
        known = {option for parameter in command.params for option in parameter.opts}
        for option in re.findall(r"--[a-z-]+", line):
            assert option in known, line


def test_settings_to_copy_are_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INFLUXDB_TOKEN", "any")
    (block,) = re.findall(r"   ```yaml\n(.*?)   ```", README, re.DOTALL)
    (prices_and_meters,) = re.findall(r"\n```yaml\n(.*?)```", README, re.DOTALL)
    path = tmp_path / "hp.yaml"
    path.write_text(re.sub(r"^   ", "", block, flags=re.MULTILINE) + prices_and_meters, encoding="utf-8")
    settings = load_settings(path)
    assert [len(settings.tariffs), len(settings.meters)] == [2, 1]
    assert settings.heat_pumps[0].inputs[0].profile == "espaltherma_home_assistant"


def test_every_table_is_there() -> None:
    for table in tables():
        assert f"`{table}`" in README, table
    assert "|".join(GROUPINGS).replace("|", "\\|") in README


def test_reasons_are_the_ones_that_the_code_gives() -> None:
    transforms = REPOSITORY / "hp_pipeline" / "transforms"
    code = "".join((transforms / f"{name}.py").read_text(encoding="utf-8") for name in ("figures", "floors"))
    for reason in re.findall(r'"([^"]+)"', README.split("`cop_reason` says")[1].split("All limits")[0]):
        pattern = re.sub(r"\d+(\.\d+)?", "{}", reason)
        assert pattern in code, reason
