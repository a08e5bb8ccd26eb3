"""Commands that work: check, import, materialize, probe, demo, docs. What an owner may do wrong, end to end."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner

from hp_pipeline.assets.describe import asset_key
from hp_pipeline.assets.workspace import open_lake
from hp_pipeline.cli import cli
from hp_pipeline.settings import FilesSource
from hp_pipeline_tests.assets.small_house import (
    DAYS,
    SETTINGS,
    contents,
    house_with_readings,
    make_all,
    readings,
    run_job,
    write_house,
)
from hp_pipeline_tests.automation.test_jobs import line_protocol
from hp_pipeline_tests.cli.conftest import Call
from hp_pipeline_tests.sources.influx_server import PASSWORD, USER, InfluxServer


def test_help_teaches() -> None:
    run = CliRunner()
    main = run.invoke(cli, ["--help"])
    assert "First steps" in main.output
    for name, command in cli.commands.items():
        answer = run.invoke(cli, [name, "--help"])
        assert answer.exit_code == 0
        assert command.help, name
        # Every option says what it is for.
        for line in re.findall(r"^  (--[\w-]+[^\n]*)$", answer.output, re.MULTILINE):
            assert len(line.split("  ")) > 1 or line.startswith("--"), (name, line)


def test_help_is_quick() -> None:
    code = (
        "import sys; from hp_pipeline.cli import cli; cli(['--help'], standalone_mode=False); print(len(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout.splitlines()[-1]) < 500, "nothing heavy is loaded for it"


def test_without_settings(tmp_path: Path, call: Call) -> None:
    for words in (["summary"], ["materialize"], ["sql", "SELECT 1"], ["verify"]):
        answer = call(None, *words)
        assert answer.exit_code == 1
        assert "There is no settings file. Copy hp.example.yaml to hp.yaml" in answer.stderr
    assert "no settings file to check" in call(None, "check").stderr
    missing = call(None, "check", "--settings", "nowhere.yaml")
    assert missing.exit_code == 1
    assert "nowhere.yaml" in missing.output


def test_check(tmp_path: Path, call: Call) -> None:
    folder = tmp_path / "house"
    write_house(folder)
    good = call(folder, "check")
    assert good.exit_code == 0
    assert "is right. Heat pumps: daikin, annex. Sources: files_a, files_b." in good.output
    text = SETTINGS.replace("Europe/Berlin", "Europe/Berlyn").replace(
        "  - id: annex\n", "  - id: annex\n    id: twice\n"
    )
    text = text.replace("{id: files_b, kind: files", "{id: files_b, kind: fils", 1)
    text = text.replace("source: files_a, profile: espaltherma_home_assistant", "source: files_a, profile: espaltherm")
    (folder / "hp.yaml").write_text(text)
    bad = call(folder, "check")
    assert bad.exit_code == 1
    for found in ("Europe/Berlyn", "Did you mean 'Europe/Berlin'?", "hp.yaml:1:", "espaltherm", "hp.yaml:12:", "fils"):
        assert found in bad.output, bad.output
    (folder / "hp.yaml").write_text(SETTINGS.replace("  - id: annex\n", "  - id: annex\n    id: twice\n"))
    twice = call(folder, "check")
    assert "hp.yaml:7:5" in twice.output
    assert "each key once" in twice.output
    assert call(folder, "summary").exit_code == 1


def half_files(folder: Path) -> list[Path]:
    """The readings in three files that overlap."""
    rows = readings().height
    files = []
    for number, (first, last) in enumerate([(0, rows // 2), (rows // 3, 3 * rows // 4), (rows // 2, rows)]):
        files.append(folder / f"{number}.parquet")
        readings()[first:last].write_parquet(files[-1])
    return files


def test_import_and_materialize(tmp_path: Path, call: Call) -> None:
    folder = tmp_path / "house"
    write_house(folder)
    for source in ("files_a", "files_b"):
        answer = call(folder, "import", *half_files(tmp_path), "--source", source)
        assert answer.exit_code == 0
        assert "3 days of readings changed" in answer.stdout
        assert "0.parquet" in answer.stderr
    made = call(folder, "materialize")
    assert made.exit_code == 0
    whole = house_with_readings(tmp_path / "whole")
    make_all(whole)
    assert contents(open_lake(folder / "data")) == contents(whole.lake)
    assert call(folder, "materialize").stdout.startswith("0 partitions made")
    again = call(folder, "import", *half_files(tmp_path), "--source", "files_a")
    assert again.stdout.startswith("0 days of readings changed")
    assert "taken in before" in again.stderr
    assert call(folder, "materialize").stdout.startswith("0 partitions made")
    assert (folder / "data" / "hp.duckdb").exists()


def test_import_keeps_or_moves(tmp_path: Path, call: Call) -> None:
    folder = tmp_path / "house"
    write_house(folder)
    first, second, _ = half_files(tmp_path)
    assert call(folder, "import", first, "--source", "files_a").exit_code == 0
    assert first.exists()
    assert call(folder, "import", second, "--source", "files_a", "--move").exit_code == 0
    assert not second.exists()
    assert [path.name[13:] for path in (folder / "data" / "archive" / "files_a").iterdir()] == [second.name]


def test_import_refuses_what_is_bad_and_takes_the_rest(tmp_path: Path, call: Call) -> None:
    folder = tmp_path / "house"
    write_house(folder)
    (tmp_path / "empty.parquet").touch()
    (tmp_path / "words.parquet").write_text("this is no Parquet")
    good = half_files(tmp_path)
    answer = call(
        folder, "import", tmp_path / "empty.parquet", *good, tmp_path / "words.parquet", "--source", "files_a"
    )
    assert answer.exit_code == 1
    assert "2 of 5 files were refused; all others were taken in." in answer.stderr
    assert "empty.parquet: refused" in answer.stderr
    assert "words.parquet: refused" in answer.stderr
    assert (tmp_path / "empty.parquet").exists(), "it stays where its owner has it"
    assert (folder / "data" / "quarantine" / "files_a" / "empty.parquet.report.txt").exists()
    assert open_lake(folder / "data").keys("readings/files_a") == list(DAYS)


def test_import_into_what_takes_no_files(tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HP_PASSWORD", "any")
    folder = tmp_path / "house"
    write_house(folder, INFLUX.replace("URL", "http://127.0.0.1:1"))
    file = half_files(tmp_path)[0]
    assert "only a source of kind files takes files" in call(folder, "import", file, "--source", "influx").stderr
    nobody = call(folder, "import", file, "--source", "nobody")
    assert nobody.exit_code == 1
    assert "nobody" in nobody.stderr
    assert "influx" in nobody.stderr
    assert call(folder, "import", tmp_path / "none.parquet", "--source", "files_b").exit_code == 2


CSV = """\
site: {name: Small house, time_zone: Europe/Berlin, start: 2025-01-12}
heat_pumps:
  - id: daikin
    inputs: [{source: csv, profile: espaltherma_home_assistant}]
sources:
  - {id: csv, kind: files, format: csv KEEP}
"""


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ("2025-01-13T10:00:00Z,p,NaN", "line 3"),
        ("2025-01-13T10:00:00Z,p,inf", "line 3"),
        ("2025-01-13T10:00:00Z,p,-Infinity", "line 3"),
        ("1970-01-01T00:00:00Z,p,1", "1970"),
        ("2093-01-01T00:00:00Z,p,1", "2093"),
        ("yesterday,p,1", "yesterday"),
        ("2025-01-13T10:00:00Z,p", "line 3"),
    ],
)
def test_rows_that_cannot_be_are_named_and_the_good_ones_taken_if_wanted(
    tmp_path: Path, call: Call, rows: str, says: str
) -> None:
    file = tmp_path / "readings.csv"
    file.write_text(f"time,point,value\n2025-01-13T09:00:00Z,p,1.5\n{rows}\n2025-01-13T11:00:00Z,p,2.5\n")
    folder = tmp_path / "strict"
    write_house(folder, CSV.replace(" KEEP", ""))
    answer = call(folder, "import", file, "--source", "csv")
    assert answer.exit_code == 1
    report = (folder / "data" / "quarantine" / "csv" / "readings.csv.report.txt").read_text()
    assert says in report
    assert not open_lake(folder / "data").keys("readings/csv")

    folder = tmp_path / "lenient"
    write_house(folder, CSV.replace(" KEEP", ", keep_good_rows: true"))
    answer = call(folder, "import", file, "--source", "csv")
    assert answer.exit_code == 0, answer.output
    stored = open_lake(folder / "data").read("readings/csv", ["2025-01-13"])
    assert stored is not None
    assert stored["value"].to_list() == [1.5, 2.5]


def test_units_that_cannot_be_are_refused_before_anything_is_read(tmp_path: Path, call: Call) -> None:
    folder = tmp_path / "house"
    signals = "signals: {electrical_power: {select: {point: P}, unit: horses}}"
    write_house(folder)
    text = SETTINGS.replace(
        "[{source: files_a, profile: espaltherma_home_assistant}]",
        f"[{{source: files_a, profile: espaltherma_home_assistant, {signals}}}]",
    )
    (folder / "hp.yaml").write_text(text)
    answer = call(folder, "materialize")
    assert answer.exit_code == 1
    assert "horses" in answer.stderr
    assert "electrical_power" in answer.stderr


def test_materialize_a_part(tmp_path: Path, call: Call) -> None:
    folder = tmp_path / "house"
    house_with_readings(folder)
    lake = open_lake(folder / "data")
    assert call(folder, "materialize", "--asset", "frames/annex").exit_code == 0
    assert [asset for asset in lake.assets() if lake.keys(asset)] == [
        "frames/annex", "readings/files_a", "readings/files_b"
    ]  # fmt: skip
    assert call(folder, "materialize", "--from", "2025-01-15", "--asset", "frames/daikin").exit_code == 0
    assert "2025-01-15" in lake.keys("frames/daikin")
    assert call(folder, "materialize").exit_code == 0
    before = contents(lake)
    forced = call(folder, "materialize", "--force", "--asset", "daily")
    assert forced.stdout.startswith("6 partitions made")
    assert contents(lake) == before


def test_materialize_mistakes(made: Path, call: Call) -> None:
    answer = call(made, "materialize", "--asset", "session")
    assert answer.exit_code == 2
    assert "There is no asset 'session'; there are: readings, frames" in answer.stderr
    assert "There is no plant 'nobody'" in call(made, "materialize", "--asset", "sessions/nobody").stderr
    assert "There is no source 'daikin'" in call(made, "materialize", "--asset", "readings/daikin").stderr
    assert "lies after" in call(made, "materialize", "--from", "2025-02-01", "--to", "2025-01-01").stderr


def test_materialize_goes_on_where_a_partition_is_damaged(tmp_path: Path, call: Call) -> None:
    folder = tmp_path / "house"
    workspace = house_with_readings(folder)
    damaged = workspace.lake.path("readings/files_a", "2025-01-13")
    damaged.write_bytes(b"")
    answer = call(folder, "materialize")
    assert answer.exit_code == 1
    assert "Some things could not be done, all others were" in answer.stderr
    assert str(damaged) in answer.stderr
    assert workspace.lake.keys("all_time/annex") == [""]
    assert workspace.lake.keys("daily/daikin")


INFLUX = """\
site: {name: House, time_zone: Europe/Berlin, start: 2025-01-12}
heat_pumps:
  - id: daikin
    inputs: [{source: influx, profile: espaltherma_home_assistant}]
  - id: annex
    inputs: [{source: files_b, profile: espaltherma_home_assistant}]
sources:
  - {id: influx, kind: influxdb, version: 1, url: "URL", database: cli, username: USER, password: "${HP_PASSWORD}"}
  - {id: files_b, kind: files, format: parquet}
"""


def test_materialize_beside_an_influxdb_that_is_away(
    tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HP_PASSWORD", "secret word")
    folder = tmp_path / "house"
    write_house(folder, INFLUX.replace("URL", "http://127.0.0.1:1").replace("USER", USER))
    assert call(folder, "import", *half_files(tmp_path), "--source", "files_b").exit_code == 0
    answer = call(folder, "materialize")
    assert answer.exit_code == 1
    assert "source influx" in answer.stderr
    assert "http://127.0.0.1:1" in answer.stderr
    assert "secret word" not in answer.output
    assert open_lake(folder / "data").keys("all_time/annex") == [""], "the rest goes on"
    probe = call(folder, "probe", "influxdb")
    assert probe.exit_code == 1
    assert "source influx" in probe.stderr


def test_materialize_and_probe_with_a_real_influxdb(
    tmp_path: Path, call: Call, influx_server: InfluxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HP_PASSWORD", PASSWORD)
    influx_server.create_database("cli")
    assert influx_server.write("cli", line_protocol(readings()), "us").status_code == 204
    folder = tmp_path / "house"
    write_house(folder, INFLUX.replace("URL", influx_server.url).replace("USER", USER))
    answer = call(folder, "materialize", "--from", "2025-01-13", "--to", "2025-01-15")
    assert answer.exit_code == 0, answer.output
    stored = open_lake(folder / "data").read("readings/influx", DAYS)
    assert stored is not None
    assert stored.height == readings().height
    rows = json.loads(call(folder, "summary", "--by", "day", "--heat-pump", "daikin", "--format", "json").stdout)
    assert [row["period"] for row in rows] == list(DAYS)
    probe = call(folder, "probe", "influxdb", "--days", "5000")
    assert probe.exit_code == 0
    assert "outdoor_temperature" in probe.output
    monkeypatch.setenv("HP_PASSWORD", "wrong")
    wrong = call(folder, "probe", "influxdb")
    assert wrong.exit_code == 1
    assert "influx" in wrong.stderr
    assert "no influxdb source 'x'" in call(folder, "probe", "influxdb", "--source", "x").stderr


def test_demo(tmp_path: Path, call: Call) -> None:
    data = tmp_path / "data" / "demo"
    answer = call(None, "demo", "--days", "1")
    assert answer.exit_code == 0
    assert "The demo street: novelan, stiebel" in answer.stderr
    settings = (data / "hp.yaml").read_text()
    assert call(None, "check").exit_code == 0
    before = sorted((data / "drop" / "before").iterdir())
    assert call(None, "import", *before, "--source", "before", "--move").exit_code == 0
    assert call(None, "materialize").exit_code == 0
    shown = call(None, "summary", "--by", "all", "--heat-pump", "novelan")
    assert "this is the demo street" in shown.stderr
    assert "All of it" in shown.stdout
    assert call(None, "demo", "--days", "1").exit_code == 0, "it is there: nothing is written anew"
    assert (data / "hp.yaml").read_text() == settings
    assert not list((data / "drop" / "before").iterdir())
    (tmp_path / "hp.yaml").write_text(SETTINGS)
    assert "without hp.yaml" in call(None, "demo").stderr


def test_docs(tmp_path: Path, call: Call) -> None:
    assert call(None, "docs", "--folder", "pages").exit_code == 0
    assert call(None, "docs", "--check", "--folder", "pages").exit_code == 0
    page = tmp_path / "pages" / "data_dictionary.md"
    text = page.read_text()
    assert "electrical_energy_kwh" in text
    page.write_text(text + "more")
    answer = call(None, "docs", "--check", "--folder", "pages")
    assert answer.exit_code == 1
    assert "hp-pipeline docs" in answer.stderr


def test_commands_tell_dagster_what_they_made(tmp_path: Path, call: Call) -> None:
    """Beside the services, or before they start: what a command made is there in the pages, and is not made again."""
    from hp_pipeline.services.instance import open_instance, prepare_instance

    folder = tmp_path / "house"
    workspace = write_house(folder)
    prepare_instance(folder / "data")
    assert call(folder, "import", *half_files(tmp_path), "--source", "files_a").exit_code == 0
    assert call(folder, "materialize", "--asset", "frames").exit_code == 0
    with open_instance(folder / "data") as instance:
        assert instance.get_materialized_partitions(asset_key("readings", "files_a")) == set(DAYS)
        assert instance.get_materialized_partitions(asset_key("frames", "daikin")) == set(DAYS)
        assert isinstance(workspace.settings.source("files_a"), FilesSource)
        assert run_job(workspace, "sweep", instance).success


def test_as_a_real_process(house: Path) -> None:
    """Exit codes, both streams and a closed pipe, as a shell sees them."""
    places = ["--settings", str(house / "hp.yaml"), "--data", str(house / "data")]
    command = [sys.executable, "-m", "hp_pipeline.cli"]
    done = subprocess.run(
        [*command, "summary", "--by", "hour", "--format", "csv", *places], capture_output=True, text=True, check=True
    )
    assert pl.read_csv(done.stdout.encode()).height == 122
    bad = subprocess.run(
        [*command, "summary", "--heat-pump", "x", *places], capture_output=True, text=True, check=False
    )
    assert (bad.returncode, bad.stdout) == (2, "")
    shown = subprocess.run(
        ["sh", "-c", f"{sys.executable} -m hp_pipeline.cli summary --by hour {' '.join(places)} | head -2"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stdout.startswith("By hour")
    assert "Traceback" not in shown.stderr
