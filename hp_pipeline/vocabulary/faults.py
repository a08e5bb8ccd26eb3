"""What devices say when something is wrong: which words mean that nothing is, and the events of controllers' rings."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from hp_pipeline.vocabulary.luxtronik import registers

NO_FAULT: Final = frozenset({"", "-", "--", "none", "no", "no fault", "no error", "no errors", "ok", "normal", "off"})
"""Words, in lower case, by which a device says that nothing is wrong; so does any zero (0, 00, 0.0)."""

_ZERO = re.compile(r"[0+]*\.?0*", re.ASCII)


def is_fault(word: str) -> bool:
    """Whether a word of the signal `fault` says that something is wrong."""
    plain = word.strip().lower()
    return plain not in NO_FAULT and _ZERO.fullmatch(plain) is None


RING_KINDS: Final[Mapping[str, tuple[str, int, str]]] = MappingProxyType(
    {
        "error": ("fault", 1, "error"),
        "switch_off": ("switch_off", 1, "switch_off"),
        "switch_off_2": ("switch_off", 2, "switch_off"),
    }
)
"""The rings of a Luxtronik controller: kind of their events, machine (of a pair), words of their codes."""

RING_POINT: Final = re.compile(r"event/(error|switch_off|switch_off_2)/([0-9]{1,4})", re.ASCII)
"""Point of an event of a ring, with ring and code: its reading has the event's own time."""

RING_TIMES: Final[Mapping[str, tuple[int, ...]]] = MappingProxyType(
    {"error": tuple(range(95, 100)), "switch_off": tuple(range(111, 116)), "switch_off_2": tuple(range(222, 227))}
)
"""The calculations that hold the times of each ring's events, in unix seconds: they tell when an event was first
read."""


def ring_text(ring: str, code: int) -> str:
    """What the code of an event means, in plain words; `unknown_<code>` if nobody knows."""
    return registers().enums[RING_KINDS[ring][2]].get(code, f"unknown_{code}")
