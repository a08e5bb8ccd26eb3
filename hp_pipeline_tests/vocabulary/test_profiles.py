"""Profiles: every shipped one is right, the owner's overrides are merged, and mistakes are named where they are."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from hp_pipeline.vocabulary.profiles import Changes, ProfileError, load_profile, shipped_profiles
from hp_pipeline.vocabulary.signals import signals

ESPALTHERMA = "espaltherma_home_assistant"


@pytest.mark.parametrize("name", shipped_profiles())
def test_a_shipped_profile_loads_and_tells_something(name: str) -> None:
    profile = load_profile(name)
    assert profile.name == name and profile.description
    assert profile.mappings and profile.selectors()
    for signal, mapping in profile.mappings.items():
        assert mapping.signal is signals()[signal]
        assert mapping.selectors and mapping.factor != 0 and mapping.max_age > timedelta()
        assert set((mapping.values or {}).values()) <= set(mapping.signal.values)


@pytest.mark.parametrize("name", shipped_profiles())
def test_no_two_signals_of_a_shipped_profile_want_the_same_series(name: str) -> None:
    owners: dict[str, str] = {}
    for signal, mapping in load_profile(name).mappings.items():
        for selector in () if mapping.summed else mapping.selectors:  # a sum is made of other signals' series
            key = repr(selector) if mapping.values is None else f"{selector!r} {sorted(mapping.values)}"
            assert owners.setdefault(key, signal) == signal, key


def test_a_pool_is_the_same_to_every_luxtronik() -> None:
    """The machine runs for it, so it is no standby; and its counters are parts of those of its mode, or of a total."""
    own, interface = (load_profile(name).mappings for name in ("luxtronik", "luxtronik_shi"))
    assert own["operating_mode"].state_of("2") == interface["operating_mode"].state_of("pool or solar") == "heating"
    for kind, points in (
        ("electrical", {"parameter/1136", "parameter/1138"}),
        ("thermal", {"parameter/854", "parameter/879"}),
    ):
        counter = own[f"{kind}_energy_heating_total"]
        assert counter.summed and {selector.point for selector in counter.selectors} == points
        assert f"{kind}_energy_total" in interface


def test_the_measures_of_an_espaltherma() -> None:
    profile = load_profile(ESPALTHERMA)
    assert len(profile.mappings) == 25
    point = "°C,domain=sensor,entity_id=x,friendly_name=ESPAltherma\\ -\\ Outdoor\\ Air\\ Temperature value"
    assert [s for s, m in profile.mappings.items() if any(c.matches(point) for c in m.selectors)] == [
        "outdoor_temperature"
    ]
    assert profile.mappings["flow_rate"].factor == 60
    mode = profile.mappings["operating_mode"]
    assert [mode.state_of(word) for word in ("Heating", "Fan Only", "Auto Cool", "UseStrdThrm(1)")] == [
        "heating", "standby", "cooling", None,
    ]  # fmt: skip
    assert profile.mappings["three_way_valve"].state_of("ON") == "dhw"


def test_an_override_replaces_the_keys_that_it_names() -> None:
    plain = load_profile(ESPALTHERMA).mappings["outdoor_temperature"]
    own = load_profile(
        ESPALTHERMA,
        {
            "outdoor_temperature": {"select": "my sensor"},
            "room_temperature": None,
            "buffer_temperature": {"select": "b"},
        },
    ).mappings
    assert own["outdoor_temperature"].spike == plain.spike and own["outdoor_temperature"].selectors != plain.selectors
    assert "room_temperature" not in own
    assert own["buffer_temperature"].max_age == signals()["buffer_temperature"].max_age


def test_who_tells_changes_says_so_for_all_states_and_the_owner_for_each() -> None:
    told = {name: {m.changes for m in load_profile(name).mappings.values()} - {None} for name in shipped_profiles()}
    dated, published = Changes(timedelta(seconds=1), published=False), Changes(timedelta(seconds=5), published=True)
    assert {name: changes for name, changes in told.items() if changes} == {
        "heishamon": {published}, "viessmann": {dated}, "viessmann_classic": {dated},
    }  # fmt: skip
    plain = load_profile("heishamon")
    assert all((m.changes is not None) == (m.signal.kind == "state") for m in plain.mappings.values())
    own = load_profile("heishamon", {"defrost": {"changes": None}, "three_way_valve": {"changes": {"dated_to": "2s"}}})
    assert own.mappings["defrost"].changes is None
    assert own.mappings["three_way_valve"].changes == Changes(timedelta(seconds=2), published=False)
    assert own.mappings["operating_mode"].changes == published
    assert own.fingerprint_data() != plain.fingerprint_data()


def test_what_decides_a_reading_is_in_the_fingerprint() -> None:
    plain = load_profile(ESPALTHERMA).fingerprint_data()
    assert plain == load_profile(ESPALTHERMA).fingerprint_data()
    for change in ({"unit": "kW"}, {"max_age": "2h"}, {"reject": [0]}, {"select": "other"}, {"spike": {"max_jump": 9}}):
        assert load_profile(ESPALTHERMA, {"electrical_power": change}).fingerprint_data() != plain


@pytest.mark.parametrize(
    ("signal", "entry", "path", "nearest", "words"),
    [
        ("flow_temprature", {"select": "x"}, ("flow_temprature",), "flow_temperature", "unknown signal"),
        ("flow_rate", {"select": "x", "unti": "l/h"}, ("flow_rate", "unti"), "unit", "unknown key"),
        ("flow_rate", {"select": "x", "unit": "l/hour"}, ("flow_rate", "unit"), "l/h", "unknown unit"),
        ("flow_rate", {"select": "x", "unit": "kWh"}, ("flow_rate", "unit"), "kWh", "is a unit of energy, not of flow"),
        ("flow_rate", {"select": []}, ("flow_rate", "select", 0), None, "says no `select`"),
        ("electrical_power", {"select": {}}, ("electrical_power", "select"), None, "says no `select`"),
        (
            "electrical_power",
            {"select": {"feild": "a"}},
            ("electrical_power", "select", "feild"),
            "field",
            "unknown key",
        ),
        ("electrical_power", {"select": [{"field": "/[/"}]}, ("electrical_power", "select", 0), None, "regular expr"),
        ("electrical_power", {"select": {"tags": "a"}}, ("electrical_power", "select", "tags"), None, "is a mapping"),
        (
            "defrost",
            {"select": "x", "values": {"A": "onn"}},
            ("defrost", "values", "A"),
            "on",
            "not a state of defrost",
        ),
        ("flow_rate", {"select": "x", "values": {}}, ("flow_rate", "values"), None, "only a state has"),
        ("flow_rate", {"select": "x", "reject": [True]}, ("flow_rate", "reject"), None, "list of numbers"),
        ("flow_rate", {"select": "x", "spike": {"within": "1h"}}, ("flow_rate", "spike"), None, "max_jump"),
        ("flow_rate", {"select": "x", "spike": {"max_jump": -1}}, ("flow_rate", "spike", "max_jump"), None, "above 0"),
        (
            "flow_rate",
            {"select": "x", "spike": {"max_jump": 1, "within": "2d"}},
            ("flow_rate", "spike", "within"),
            None,
            "12h",
        ),
        ("flow_rate", {"select": "x", "max_age": 90}, ("flow_rate", "max_age"), None, "with a unit"),
        ("flow_rate", {"select": "x", "max_age": "0s"}, ("flow_rate", "max_age"), None, "more than nothing"),
        ("flow_rate", {"select": "x", "changes": None}, ("flow_rate", "changes"), None, "only a state has"),
        ("defrost", {"changes": {"datedto": "1s"}}, ("defrost", "changes"), None, "dated_to"),
        ("defrost", {"changes": {"dated_to": "1s", "published_within": "1s"}}, ("defrost", "changes"), None, "says"),
        ("defrost", {"changes": {"dated_to": "0s"}}, ("defrost", "changes", "dated_to"), None, "more than nothing"),
        (
            "defrost",
            {"changes": {"published_within": 5}},
            ("defrost", "changes", "published_within"),
            None,
            "with a unit",
        ),
        ("flow_rate", 7, ("flow_rate",), None, "is a mapping"),
    ],
)
def test_a_mistake_is_named_where_it_is(
    signal: str, entry: Any, path: tuple[str | int, ...], nearest: str | None, words: str
) -> None:
    with pytest.raises(ProfileError, match=words) as caught:
        load_profile(ESPALTHERMA, {signal: entry})
    assert caught.value.key_path == path
    assert caught.value.nearest == nearest


def test_a_profile_of_the_owners_own(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("signals:\n  defrost: {select: d, values: {true: on, 'no': off, 3: 'on'}}\n")
    mapping = load_profile("mine.yaml", base=tmp_path).mappings["defrost"]
    assert [mapping.state_of(word) for word in ("true", "no", "3", "3.0", "4")] == ["on", "off", "on", "on", None]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("espaltherma_home_asistant", None, "unknown profile 'espaltherma_home_asistant'"),
        ("gone.yaml", None, r"cannot read profile .*gone\.yaml: No such file"),
        ("a.yaml", b"signals: [", "not valid YAML"),
        ("a.yaml", b"signals: {}\nsignals: {}\n", "not valid YAML"),
        ("a.yaml", b"points: {}", "no mapping `signals`"),
        ("a.yaml", b"changes: true\nsignals: {}", "`dated_to` or `published_within`"),
        ("a.yaml", b"\xff\xfe", "not UTF-8"),
    ],
)
def test_a_profile_that_cannot_be_read_is_named(tmp_path: Path, name: str, text: bytes | None, words: str) -> None:
    if text is not None:
        (tmp_path / name).write_bytes(text)
    with pytest.raises(ProfileError, match=words) as caught:
        load_profile(name, base=tmp_path)
    if text is None and not name.endswith(".yaml"):
        assert caught.value.nearest == ESPALTHERMA
