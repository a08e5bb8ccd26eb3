"""Who lives in the street, and how their devices are asked. Light: the command line imports it before anything else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

SECRETS: Final[Mapping[str, str]] = {
    "STREET_VIESSMANN_CLIENT_ID": "street-client",
    "STREET_VIESSMANN_PASSWORD": "street-account",
    "STREET_SHELLY_PASSWORD": "street-meter",
}
"""What the street's own servers let in, by environment variable. They listen on loopback only."""
ACCOUNT: Final = "street@example.org"
WEATHER_SEED: Final = 1


BEFORE: Final = "before"
NEIGHBOUR_BEFORE: Final = "neighbour_before"
"""Sources of files with what was told before anybody asked. Two devices of one kind use the same words, and so the
neighbour has files of its own."""


@dataclass(frozen=True)
class Told:
    """How the history of a device was read.

    Attributes:
        source: id of the source of files that has it.
        every_s: how often it was read, s.
        phase_s: at which second of that; no two of one source at the same, so that no two polls have one time.
        number: of its set of points.
    """

    source: str
    every_s: int
    phase_s: int
    number: int


@dataclass(frozen=True)
class StreetHouse:
    """One house of the street.

    Attributes:
        id: of its heat pump, or of its heating, in the settings.
        preset: what stands there (`parameters.PRESETS`); empty for the solar heating.
        seed: of the people who live there.
        sources: ids of the sources of the settings that read its devices now.
    """

    id: str
    preset: str
    seed: int
    sources: tuple[str, ...]


SHELLY: Final = "shelly"
"""The meter in front of the heat pump of the house `viessmann`."""
HOME_ASSISTANT: Final = "home_assistant"
"""The source of files of the house `daikin`."""
SOLAR: Final = "solar_heating"
HOUSES: Final = (
    StreetHouse("novelan", "novelan_helox", 7, ("luxtronik",)),
    StreetHouse("stiebel", "stiebel_hpa", 8, ("isg",)),
    StreetHouse("stiebel_neighbour", "stiebel_hpa", 9, ("isg_neighbour",)),
    StreetHouse("viessmann", "viessmann_vitocal", 10, ("vicare", SHELLY)),
    StreetHouse("daikin", "daikin_altherma", 11, (HOME_ASSISTANT,)),
    StreetHouse("solar", "", 12, (SOLAR,)),
)
HISTORY: Final[Mapping[str, Told]] = {
    "luxtronik": Told(BEFORE, 30, 3, 1),
    "isg": Told(BEFORE, 30, 7, 2),
    "isg_neighbour": Told(NEIGHBOUR_BEFORE, 30, 7, 1),
    "vicare": Told(BEFORE, 120, 0, 3),
    SHELLY: Told(BEFORE, 30, 17, 4),
}
"""By source how its device was read before."""
PORTS: Final = ("luxtronik", "isg", "isg_neighbour", "vicare", SHELLY, SOLAR)
"""Sources whose servers listen."""


def house(id_: str) -> StreetHouse:
    """The house of this id.

    Raises:
        KeyError: there is none.
    """
    return {one.id: one for one in HOUSES}[id_]
