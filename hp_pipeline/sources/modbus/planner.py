"""Which requests read the wanted registers: few, within the protocol's limits, around what the device does not have.

Every request costs a round trip, so neighbours are read together, over gaps that nobody asked for. A gateway that
has nothing at an address of a gap refuses the whole request; such holes are remembered and never asked again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from hp_pipeline.vocabulary.registers import MOST_BITS, MOST_WORDS, Register, Table

TABLES: Final[tuple[Table, ...]] = ("input", "holding", "discrete", "coil")

MOST_DOCUMENTED: Final = 32
"""Documented registers that are read without being wanted: 64 bytes, less than a further request costs."""


@dataclass(frozen=True)
class Block:
    """One request: `count` registers (or bits) of a table from `address` on, for the sake of some registers."""

    table: Table
    address: int
    count: int
    registers: tuple[Register, ...]

    @property
    def end(self) -> int:
        """The address behind the last one."""
        return self.address + self.count

    def runs(self) -> list[Block]:
        """The same without its gaps: the registers that lie side by side, together."""
        return plan(self.registers, most_gap=0)

    def gaps(self) -> set[int]:
        """Addresses that are read though no register wanted them."""
        wanted = {address for register in self.registers for address in range(register.address, register.end)}
        return set(range(self.address, self.end)) - wanted


def plan(
    registers: Iterable[Register],
    *,
    most_words: int = MOST_WORDS,
    most_gap: int = 24,
    holes: Mapping[Table, Collection[int]] | None = None,
    documented: Mapping[Table, Collection[int]] | None = None,
    apart: Collection[str] = (),
) -> list[Block]:
    """The requests that read all registers, except those that lie on a hole.

    Args:
        registers: what is wanted, of any tables.
        most_words: registers that one request may ask for (a value that is longer alone is read alone, up to the
            protocol's 125); requests for bits may ask for sixteen times as many.
        most_gap: registers of which nothing is known that may be read without being wanted, between two that are.
        holes: addresses that the device refuses, by table; no request touches one.
        documented: addresses that the device should have, by table: a gap of `MOST_DOCUMENTED` of them is bridged.
        apart: groups that share no request with others, because a device may lack them as a whole.
    """
    known, known_well = holes or {}, documented or {}
    blocks: list[Block] = []
    parted: dict[tuple[Table, str], list[Register]] = {}
    for register in registers:
        if not any(address in known.get(register.table, ()) for address in range(register.address, register.end)):
            parted.setdefault((register.table, register.group if register.group in apart else ""), []).append(register)
    for table, group in sorted(parted, key=lambda key: (TABLES.index(key[0]), key[1])):
        refused = known.get(table, ())
        most = min(most_words * 16, MOST_BITS) if table in ("coil", "discrete") else min(most_words, MOST_WORDS)
        members: list[Register] = []
        end = 0
        for register in sorted(parted[table, group], key=lambda one: (one.address, one.end, one.name)):
            joins = (
                bool(members)
                and _bridged(range(end, register.address), most_gap, known_well.get(table, ()))
                and max(end, register.end) - members[0].address <= most
                and not any(address in refused for address in range(end, register.address))
            )
            if members and not joins:
                blocks.append(_block(table, members, end))
                members = []
            end = max(end, register.end) if members else register.end
            members.append(register)
        blocks.append(_block(table, members, end))
    return blocks


def _bridged(gap: range, most_gap: int, documented: Collection[int]) -> bool:
    if len(gap) <= most_gap:
        return True
    return len(gap) <= MOST_DOCUMENTED and sum(address not in documented for address in gap) <= most_gap


def _block(table: Table, members: Sequence[Register], end: int) -> Block:
    start = members[0].address
    return Block(table, start, end - start, tuple(members))


@dataclass
class Knowledge:
    """What one device was found to have and not to have. Survives a restart through `state` and `from_state`.

    Attributes:
        holes: addresses that the device refused and never answered, by table.
        answered: addresses that it answered once; if one of them is refused later, that is a fault, not a hole.
    """

    holes: dict[Table, set[int]] = field(default_factory=dict)
    answered: dict[Table, set[int]] = field(default_factory=dict)

    def answers(self, block: Block) -> None:
        """The device answered a request."""
        self.answered.setdefault(block.table, set()).update(range(block.address, block.end))

    def has_answered(self, block: Block) -> bool:
        """Whether it answered all addresses of a request before."""
        return self.answered.get(block.table, set()).issuperset(range(block.address, block.end))

    def refuses(self, table: Table, addresses: Iterable[int]) -> None:
        """The device has nothing at these addresses."""
        answered = self.answered.get(table, set())
        self.holes.setdefault(table, set()).update(set(addresses) - answered)

    def state(self) -> dict[str, Any]:
        """Everything, as JSON can hold it: ranges `[first, last]` by table."""
        return {
            "holes": {table: _ranges(found) for table, found in sorted(self.holes.items()) if found},
            "answered": {table: _ranges(found) for table, found in sorted(self.answered.items()) if found},
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Knowledge:
        """What `state` told; anything that cannot be understood counts as not known."""
        return cls(_sets(state.get("holes")), _sets(state.get("answered")))


def _ranges(addresses: Iterable[int]) -> list[list[int]]:
    ranges: list[list[int]] = []
    for address in sorted(addresses):
        if ranges and ranges[-1][1] == address - 1:
            ranges[-1][1] = address
        else:
            ranges.append([address, address])
    return ranges


def _sets(raw: object) -> dict[Table, set[int]]:
    found: dict[Table, set[int]] = {}
    if not isinstance(raw, Mapping):
        return found
    for table in TABLES:
        ranges = raw.get(table)
        for entry in ranges if isinstance(ranges, list) else []:
            match entry:
                case [int(first), int(last)] if 0 <= first <= last <= 0xFFFF:
                    found.setdefault(table, set()).update(range(first, last + 1))
    return found
