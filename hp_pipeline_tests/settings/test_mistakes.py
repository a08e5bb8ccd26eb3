"""Every kind of mistake, at its line and with what would be right; and all of them at once."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from hp_pipeline.settings import Mistake, SettingsError, check_settings, format_mistakes, load_settings
from hp_pipeline_tests.settings.house import ENVIRONMENT, HOUSE

Write = Callable[..., Path]

INPUT = "      - source: influx"
PROFILE = "        profile: espaltherma_home_assistant"

SINGLE = YAML(typ="safe").load(Path(__file__).with_name("mistakes.yaml"))


@pytest.mark.parametrize("name", SINGLE)
def test_a_mistake_is_told_with_its_place_and_remedy(name: str, write: Write) -> None:
    path = write((SINGLE[name]["replace"], SINGLE[name]["by"]))
    said = format_mistakes(check_settings(path, ENVIRONMENT))
    assert said.startswith(f"{path}:{SINGLE[name]['says']}")
    assert "\n" not in said


def test_the_house_has_no_mistake(write: Write) -> None:
    assert check_settings(write(), ENVIRONMENT) == []
    assert format_mistakes([]) == ""


@pytest.mark.parametrize("version", [1, 3])
def test_other_versions_connect_by_database(write: Write, version: int) -> None:
    path = write(("version: 2", f"version: {version}"), ("    org: home\n    bucket:", "    database:"))
    if version == 1:
        assert [mistake.key for mistake in check_settings(path, ENVIRONMENT)] == ["sources[0].token"]
    else:
        assert check_settings(path, ENVIRONMENT) == []


def test_several_mistakes_are_told_at_once_by_line(write: Write) -> None:
    path = write(
        ("Europe/Berlin", "Mars"),
        ("id: daikin\n", "id: daikin\n    modell: x\n"),
        ("30s", "30"),
        (INPUT, "      - source: other"),
        ("profile: espaltherma_home_assistant", "profile: other"),
        ("kind: influxdb", "kind: x"),
        ("token: ${INFLUXDB_TOKEN}", "token: ${NOT_SET}"),
        ("heat_pump: daikin", "heat_pump: other"),
        ("[fan]", "[fan, compresor]"),
        ("20min", "20"),
        ("0.31", "cheap"),
    )
    found = [(mistake.line, mistake.key) for mistake in check_settings(path, {})]
    assert found == [
        (1, "site.time_zone"),
        (4, "heat_pumps[0].modell"),
        (5, "heat_pumps[0].frame_interval"),
        (7, "heat_pumps[0].inputs[0].source"),
        (8, "heat_pumps[0].inputs[0].profile"),
        (12, "sources[0].kind"),
        (17, "sources[0].token"),
        (23, "meters[0].heat_pump"),
        (23, "meters[0].includes[1]"),
        (24, "rules.session_gap"),
        (26, "tariffs[0].price_per_kwh"),
    ]
    with pytest.raises(SettingsError) as refused:
        load_settings(path, {})
    assert len(refused.value.mistakes) == len(found)
    assert str(refused.value) == format_mistakes(refused.value.mistakes)
    assert refused.value.__cause__ is None
    assert refused.value.__context__ is None


def test_all_connection_keys_that_are_missing(write: Write) -> None:
    path = write(("    org: home\n    bucket: homeassistant\n    token: ${INFLUXDB_TOKEN}\n", ""))
    assert [mistake.key for mistake in check_settings(path, {})] == [
        f"sources[0].{k}" for k in ("bucket", "org", "token")
    ]


def test_mistakes_of_several_signals_and_unknown_signals_of_an_unknown_profile(write: Write) -> None:
    signals = "        signals: {flow: {unit: K}, flow_rate: {unit: gallons}, defrost: {spike: {max_jump: x}}}"
    shipped = check_settings(write((PROFILE, f"{PROFILE}\n{signals}")), ENVIRONMENT)
    path = "heat_pumps[0].inputs[0].signals"
    assert [mistake.key for mistake in shipped] == [
        f"{path}.flow",
        f"{path}.flow_rate.unit",
        f"{path}.defrost.spike.max_jump",
    ]
    unknown = check_settings(write((PROFILE, f"        profile: other\n{signals}")), ENVIRONMENT)
    assert [mistake.key for mistake in unknown] == ["heat_pumps[0].inputs[0].profile", f"{path}.flow"]


def test_a_mistake_in_the_owners_profile_is_told_at_the_profile(write: Write) -> None:
    path = write(("profile: espaltherma_home_assistant", "profile: mine.yaml"))
    (path.parent / "mine.yaml").write_text("signals: {flow_temperature: {select: a, unit: Celsius}}", encoding="utf-8")
    (mistake,) = check_settings(path, ENVIRONMENT)
    assert (mistake.line, mistake.column) == (7, 18)
    assert mistake.found == "'mine.yaml': unknown unit 'Celsius' at flow_temperature.unit"


def test_a_meter_of_a_source_that_tells_no_energy(write: Write) -> None:
    path = write(
        (PROFILE, f"{PROFILE}\n      - {{source: old_files, profile: air.yaml}}"),
        ("signal:", "source: old_files, signal:"),
    )
    (path.parent / "air.yaml").write_text("signals: {outdoor_temperature: {select: a}}", encoding="utf-8")
    (mistake,) = check_settings(path, ENVIRONMENT)
    assert mistake.key == "meters[0].signal"
    assert mistake.allowed == "a signal of power or energy that the source old_files gives: none"


METER = "signal: electrical_power, includes: [fan]}\n"
TWO_METERS = (
    "signal: electrical_power, source: influx, includes: [compressor, fan], accuracy: B}}\n"
    "  - {{id: n, heat_pump: daikin, measures: electrical, signal: {signal}, source: old_files, "
    "includes: [{includes}], accuracy: {accuracy}}}\n"
)


@pytest.mark.parametrize(
    ("signal", "includes", "accuracy", "said"),
    [
        ("electrical_power", "backup_heater, circulation_pump", "A", None),
        ("electrical_power", "fan, compressor", "A", None),
        ("electrical_power", "compressor, backup_heater", "device", None),
        (
            "electrical_power",
            "backup_heater, fan",
            "A",
            "includes[1]: found 'fan', allowed: what meters[0], 'm', does not",
        ),
        ("electrical_energy_total", "backup_heater", "A", "source: found 'old_files', allowed: a source that gives"),
    ],
)
def test_meters_of_one_energy_measure_a_part_each_or_the_same(
    write: Write, signal: str, includes: str, accuracy: str, said: str | None
) -> None:
    """And what a machine tells itself of what a meter with a class includes is no meter beside it."""
    path = write(
        (PROFILE, f"{PROFILE}\n      - {{source: old_files, profile: meter.yaml}}"),
        (METER, TWO_METERS.format(signal=signal, includes=includes, accuracy=accuracy)),
    )
    (path.parent / "meter.yaml").write_text(f"signals: {{{signal}: {{select: a}}}}", encoding="utf-8")
    found = check_settings(path, ENVIRONMENT)
    if said is None:
        assert found == []
    else:
        (mistake,) = found
        assert f"{mistake.key}: found {mistake.found}, allowed: {mistake.allowed}".startswith(f"meters[1].{said}")
        assert "'m'" in mistake.allowed, "both are named"


def test_every_tab_that_indents_is_told(write: Write) -> None:
    path = write(("    org: home\n    bucket", "\torg: home\n  \tbucket"))
    assert [str(mistake) for mistake in check_settings(path, ENVIRONMENT)] == [
        f"{path}:14:1: found a tab, allowed: spaces",
        f"{path}:15:3: found a tab, allowed: spaces",
    ]


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment\n", "---\n", "\ufeff", "~"])
def test_an_empty_file(write: Write, text: str) -> None:
    path = write(text=text)
    assert (
        format_mistakes(check_settings(path))
        == f"{path}:1:1: found an empty file, allowed: settings; hp.example.yaml explains them"
    )


@pytest.mark.parametrize(("text", "shape"), [("- a\n- b\n", "a list"), ("just words", "a text")])
def test_a_file_without_keys(write: Write, text: str, shape: str) -> None:
    path = write(text=text)
    assert str(check_settings(path)[0]).startswith(f"{path}:1:1: found {shape}, allowed: keys such as site:")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "none.yaml"
    assert format_mistakes(check_settings(path)).startswith(f"{path}: found no such file, allowed: a settings file")
    assert format_mistakes(check_settings(tmp_path)).startswith(f"{tmp_path}: found a folder")


def test_a_file_that_is_not_utf_8(tmp_path: Path) -> None:
    path = tmp_path / "hp.yaml"
    path.write_bytes("site:\n  name: Süd\n".encode("latin-1"))
    assert (
        format_mistakes(check_settings(path)) == f"{path}:2:10: found bytes that are not UTF-8, allowed: text in UTF-8"
    )


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    path = tmp_path / "hp.yaml"
    path.write_text(HOUSE, encoding="utf-8-sig")
    assert check_settings(path, ENVIRONMENT) == []


def test_nesting_and_aliases_without_end(write: Write) -> None:
    assert check_settings(write(text="[" * 5000))[0].found == "values nested too deeply"
    doubled = "\n".join(f"a{n + 1}: &a{n + 1} [*a{n}, *a{n}]" for n in range(40))
    found = [mistake.found for mistake in check_settings(write(text=f"a0: &a0 [x]\n{doubled}\n"))]
    assert "an alias that makes the file endless" in found


def test_an_alias_is_what_it_stands_for(write: Write) -> None:
    path = write(("{hold: 10min}", "&mine {hold: 10min, session_gap: 20min}"), ("{session_gap: 20min}", "*mine"))
    settings = load_settings(path, ENVIRONMENT)
    assert settings.rules == settings.rules_for("daikin")


def test_a_dollar_that_is_no_variable(write: Write) -> None:
    path = write(("    org:", "    extra: [{measurement: /a$/, field: '$${x}', tags: {cost: 5$}}]\n    org:"))
    selector = load_settings(path, ENVIRONMENT).sources[0].extra[0]  # type: ignore[union-attr]
    assert (selector.measurement, selector.field, selector.tags) == ("/a$/", "${x}", {"cost": "5$"})


def test_a_variable_may_be_a_part_of_a_text(write: Write) -> None:
    path = write(("http://127.0.0.1:8086", "http://${HOST}:${PORT}/influx"))
    settings = load_settings(path, {**ENVIRONMENT, "HOST": "localhost", "PORT": "8086"})
    assert settings.sources[0].url == "http://localhost:8086/influx"  # type: ignore[union-attr]
    (empty,) = check_settings(path, {**ENVIRONMENT, "HOST": "", "PORT": "8086"})
    assert empty.found == "${HOST}, and the environment variable HOST is set but empty"


def test_the_environment_is_the_processs_own_by_default(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write()
    monkeypatch.delenv("INFLUXDB_TOKEN", raising=False)
    assert [mistake.key for mistake in check_settings(path)] == ["sources[0].token"]
    monkeypatch.setenv("INFLUXDB_TOKEN", "x")
    assert check_settings(path) == []
    assert load_settings(str(path)).source("influx").id == "influx"
    assert os.environ["INFLUXDB_TOKEN"] == "x"


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_whatever_is_broken_gives_mistakes_and_no_crash(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "broken.yaml"
    lines = HOUSE.splitlines()
    number = data.draw(st.integers(0, len(lines) - 1))
    change = data.draw(st.sampled_from(["drop", "cut", "value", "insert"]))
    odd = data.draw(
        st.sampled_from(
            ["", "~", "[]", "{}", "- x", "[[1]]", "{1: 2}", "true", "-1", "'x'", "&a [*a]", "9" * 40, "\x00"]
        )
    )
    if change == "drop":
        del lines[number]
    elif change == "cut":
        lines[number] = lines[number][: data.draw(st.integers(0, len(lines[number])))]
    elif change == "value":
        lines[number] = f"{lines[number].partition(':')[0]}: {odd}"
    else:
        place = data.draw(st.integers(0, len(lines[number])))
        lines[number] = lines[number][:place] + odd + lines[number][place:]
    path.write_text("\n".join(lines), encoding="utf-8")
    mistakes = check_settings(path, ENVIRONMENT)
    assert all(isinstance(mistake, Mistake) and mistake.found and mistake.allowed for mistake in mistakes)
    if mistakes:
        with pytest.raises(SettingsError):
            load_settings(path, ENVIRONMENT)
    else:
        assert load_settings(path, ENVIRONMENT).heat_pumps
