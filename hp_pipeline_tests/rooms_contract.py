"""The contract "who may know whom", as a contract type for import-linter (see `tool.importlinter` in pyproject.toml).

The contract types that import-linter brings need every module to exist or to be wrapped in a layer, and the rooms
are not layers: `lake` and `transforms` stand side by side, and each knows something else. A table says it plainly.
"""

from dataclasses import dataclass

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, fields, output


@dataclass(frozen=True)
class Room:
    """One line of the table: a room, the rooms it may import, and what it must not import from outside."""

    name: str
    knows: frozenset[str]
    never: frozenset[str]

    @classmethod
    def parse(cls, line: str) -> "Room":
        """Read ``name: room room never package package``; the part from "never" on may be left out."""
        name, _, rest = line.partition(":")
        knows, _, never = f" {rest} ".partition(" never ")
        return cls(name.strip(), frozenset(knows.split()), frozenset(never.split()))


class RoomsContract(Contract):
    """Imports between the sub-packages (and modules) of a package follow a table.

    Only direct imports are looked at: what a room reaches through another one is that room's matter, and stands
    in its own line. The package's own `__init__` counts as no room and may not import any.
    """

    type_name = "rooms"

    package = fields.StringField()
    rooms = fields.ListField(subfield=fields.StringField())

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        package = str(self.package)
        rooms = {room.name: room for room in map(Room.parse, self.rooms)}  # type: ignore[attr-defined]
        unlisted: set[str] = set()
        illegal: list[str] = []
        for module in sorted(graph.modules):
            if module != package and not module.startswith(f"{package}."):
                continue
            name = self._room(package, module)
            if name and name not in rooms:
                unlisted.add(name)
                continue
            room = rooms.get(name, Room("", frozenset(), frozenset()))
            for imported in sorted(graph.find_modules_directly_imported_by(module)):
                inside = imported == package or imported.startswith(f"{package}.")
                other = self._room(package, imported) if inside else imported.partition(".")[0]
                allowed = other in {"", room.name, *room.knows} if inside else other not in room.never
                if not allowed:
                    lines = [
                        str(detail["line_number"])
                        for detail in graph.get_import_details(importer=module, imported=imported)
                    ]
                    illegal.append(f"{module} imports {imported} (line {', '.join(lines)})")
        illegal += [f"{package}.{name} is in no line of the table: say whom it may know" for name in sorted(unlisted)]
        return ContractCheck(kept=not illegal, metadata={"illegal": illegal})

    def render_broken_contract(self, check: ContractCheck) -> None:
        for finding in check.metadata["illegal"]:
            output.print_error(f"- {finding}", bold=False)

    @staticmethod
    def _room(package: str, module: str) -> str:
        """The first part of a module's name below the package; empty for the package itself."""
        return module[len(package) + 1 :].partition(".")[0]
