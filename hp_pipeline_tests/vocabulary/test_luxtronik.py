"""The register table: what raw integers mean, that nothing makes it fail, and that the profile agrees with it."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hp_pipeline.vocabulary.luxtronik import (
    SECRET_PARAMETERS,
    Group,
    Register,
    parse_firmware,
    parse_point,
    registers,
)
from hp_pipeline.vocabulary.profiles import load_profile
from hp_pipeline.vocabulary.units import conversion

TABLE = registers()


@pytest.mark.parametrize(
    ("point", "raw", "firmware", "meaning"),
    [
        ("calculation/10", 342, None, 34.2),
        ("calculation/10", -40, None, -4.0),
        ("calculation/19", -500, None, None),  # no such sensor
        ("calculation/15", 0, None, 0.0),  # a real temperature, no sentinel
        ("calculation/80", 4, None, "defrost"),
        ("calculation/80", 99, None, "unknown_99"),
        ("calculation/78", 58, None, "MSW 6"),
        ("calculation/100", 716, None, "high pressure"),
        ("calculation/106", 0, None, "heat pump error"),
        ("calculation/106", 9, None, "no request"),
        ("calculation/44", 1, None, True),
        ("calculation/134", 1501069233, None, datetime(2017, 7, 26, 11, 40, 33, tzinfo=UTC)),
        ("calculation/134", 0, None, None),
        ("calculation/91", -1062731753, None, "192.168.0.23"),
        ("calculation/180", 1296, None, 12.96),
        ("calculation/258", 109, None, "1.09"),
        ("calculation/151", 543211, None, 54321.1),  # without the dust of binary fractions
        ("calculation/151", 87727, "V3.78", 8772.7),
        ("calculation/154", 91613, "V3.78", 9161.3),
        ("calculation/154", 0, "V3.88.0", None),  # dead from there on
        ("parameter/852", 916130, "V3.78", 9161.3),
        ("parameter/854", 877270, None, 8772.7),  # finer twin of calculation 151
        ("parameter/1136", 12345, "V3.90.4", 123.45),
        ("parameter/1136", 12345, "V3.78", None),
        ("parameter/1059", 37604, "V3.90.4", 3760.4),
        ("parameter/1059", 37604, "V2.88", 376.04),
        ("parameter/1140", 841, "V3.91.0", None),
        ("parameter/1140", 841, "V3.92.1", 8.41),
        ("calculation/268", 2100, "V3.90", 2100.0),
        ("parameter/755", 9, None, None),  # the password
        ("parameter/229", 21600, None, "6:00"),
        ("parameter/896", (22 * 60 << 16) + 6 * 60, None, "6:00-22:00"),
        ("parameter/1020", 9, None, 5.5),
        ("parameter/1199", 12, None, 12.0),  # not known: the raw number
        ("visibility/397", 1, None, 1.0),
        ("event/error/716", 1, None, None),
    ],
)
def test_what_a_raw_integer_means(point: str, raw: int, firmware: str | None, meaning: object) -> None:
    assert TABLE.decode(point, raw, firmware) == meaning


@given(st.sampled_from(list(TABLE)), st.integers(-(2**31), 2**32 - 1), st.sampled_from([None, "", "V1.80", "V3.92.0"]))
def test_every_integer_decodes(register: Register, raw: int, firmware: str | None) -> None:
    meaning = register.decode(raw, firmware)
    assert meaning is None or isinstance(meaning, float | str | bool | datetime)
    assert not register.secret or meaning is None


@given(st.text(max_size=30))
def test_any_text_is_a_point_or_none(text: str) -> None:
    found = parse_point(text)
    assert found is None or TABLE.register(*found).point == text


def test_names_points_and_secrets() -> None:
    flow = TABLE.named(Group.calculation, "ID_WEB_Temperatur_TVL")
    assert flow is not None
    assert (flow.point, flow.unit, flow.title) == ("calculation/10", "°C", "Flow temperature")
    assert TABLE.named(Group.parameter, "ID_WEB_Temperatur_TVL") is None
    assert TABLE.register(Group.visibility, 400).name == "unknown_visibility_400"
    assert [register.index for register in TABLE if register.secret] == list(SECRET_PARAMETERS)
    assert parse_firmware("V3.90.4") == (3, 90, 4)
    assert parse_firmware("") == ()


def test_the_profile_agrees_with_the_table() -> None:
    mappings = load_profile("luxtronik").mappings
    assert len(mappings) > 25
    for mapping in mappings.values():
        for selector in mapping.selectors:
            found = parse_point(selector.point or "")
            assert found is not None, selector
            register = TABLE.register(*found)
            if mapping.signal.kind == "state":
                assert register.kind in ("enum", "flag"), register
                continue
            assert register.kind == "number", register
            factor, offset = conversion(register.unit or "", mapping.signal.unit or "")
            own = mapping.read_by(selector)
            assert (own.factor, own.offset) == (pytest.approx(factor * register.scale), offset), register
            assert {raw * register.scale for raw in register.absent} <= set(mapping.reject), register


def test_states_of_the_mode_of_operation() -> None:
    profile = load_profile("luxtronik")
    mode, defrost = profile.mappings["operating_mode"], profile.mappings["defrost"]
    table = TABLE.register(Group.calculation, 80)
    assert {code: mode.state_of(f"{code}.0") for code in table.words} == {
        0: "heating", 1: "dhw", 2: "heating", 3: "standby", 4: "heating", 5: "standby", 6: "heating", 7: "cooling"
    }  # fmt: skip
    assert [code for code in table.words if defrost.state_of(f"{code}.0") == "on"] == [4]


def test_scales_of_profiles_are_numbers() -> None:
    for scale in ("0", "yes", ".nan", "[1]"):
        with pytest.raises(ValueError, match="`scale` is a number"):
            load_profile("luxtronik", {"flow_temperature": {"scale": _yaml(scale)}})
    with pytest.raises(ValueError, match="has no unit"):
        load_profile("luxtronik", {"defrost": {"scale": 0.1}})


def _yaml(text: str) -> object:
    return {"0": 0, "yes": True, ".nan": float("nan"), "[1]": [1]}[text]
