"""Many chains in files: read with file, line and field in every error, and placed without a portal. Pure.

A file is one chain (``chain_file``), or a list under ``chains`` with what they share beside it; a chain in a list may
also have a ``weight``. Several files are placed together: chains are added up, servers, types and constants of the
first file that states them count.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from apps.chains.chain_definition import (
    Definition,
    KnownType,
    chain_of,
    definition_parse,
    fields_of,
    list_of,
    number,
    servers_parse,
)
from apps.chains.chain_file import ChainFileError, constants_parse, line_of, types_parse, yaml_read
from apps.chains.engine.chain import CostConstants, Server
from apps.chains.engine.hybrid import Infeasible
from apps.chains.engine.placement import Placement, PlacementTask
from apps.chains.engine.placement_answer import Before
from apps.chains.engine.placement_demand import demand_of
from apps.chains.engine.placement_planner import DEMANDS_MAX, Effort, place
from apps.chains.file_planning import SERVERS_DEFAULT, built_in_types
from apps.chains.plan_json import servers_from_json
from nfvportal.lib.errors import InvalidInputError

FILE_MAX_CHARS: Final = 4_194_304
_OF_ONE: Final = (
    "name",
    "title",
    "nfs",
    "match",
    "rate_pps",
    "packet_bytes",
    "slo_p99_ms",
    "replan",
    "weight",
)
_SHARED: Final = ("servers", "nf_types", "constants", "instance_cores")


@dataclass(frozen=True, slots=True)
class PlacementFile:
    """What one file says.

    Args:
        chains: definitions and weights; ``fields``: where each is in the file, e.g. ``chains[2]``.
        servers, constants, instance_cores: ``None`` where the file leaves them out.
    """

    path: Path
    chains: tuple[tuple[Definition, float], ...]
    fields: tuple[str, ...]
    types: Mapping[str, KnownType]
    servers: tuple[Server, ...] | None
    constants: CostConstants | None
    instance_cores: float | None
    lines: Mapping[str, int] = field(default_factory=dict)

    def located(self, index: int, error: InvalidInputError) -> ChainFileError:
        """Return an error about a chain of this file with the line that it speaks of."""
        where = f"{self.fields[index]}.{error.field}" if self.fields[index] else error.field
        return ChainFileError(line_of(self.lines, where), where, error.limit)


def placement_file_read(path: Path, text: str) -> PlacementFile:
    """Return the chains of a YAML text.

    Raises:
        ChainFileError: naming line, field and limit.
    """
    data, lines = yaml_read(text, FILE_MAX_CHARS)
    try:
        return _file(path, data, lines)
    except InvalidInputError as error:
        raise ChainFileError(line_of(lines, error.field), error.field, error.limit) from error


def _file(path: Path, data: object, lines: Mapping[str, int]) -> PlacementFile:
    is_list = isinstance(data, Mapping) and "chains" in data
    fields = fields_of("", data, optional=(*_SHARED, *(("chains",) if is_list else _OF_ONE)))
    if is_list:
        rows = list_of("chains", fields["chains"], 1, DEMANDS_MAX, "chains")
        places = tuple(f"chains[{index}]" for index in range(len(rows)))
    else:
        rows, places = [{name: value for name, value in fields.items() if name in _OF_ONE}], ("",)
    cores = fields.get("instance_cores")
    return PlacementFile(
        path,
        tuple(_chain(place, row) for place, row in zip(places, rows, strict=True)),
        places,
        types_parse(fields.get("nf_types", {})),
        servers_from_json(servers_parse("servers", fields["servers"])) if "servers" in fields else None,
        constants_parse(fields["constants"]) if "constants" in fields else None,
        None if cores is None else number("instance_cores", cores, 0.01, 1.0),
        lines,
    )


def _chain(place: str, row: object) -> tuple[Definition, float]:
    fields = fields_of(place, row, optional=_OF_ONE)
    dot = f"{place}." if place else ""
    weight = number(f"{dot}weight", fields.pop("weight", 1.0), 0.001, 1e6)
    try:
        return definition_parse(fields), weight
    except InvalidInputError as error:
        raise InvalidInputError(f"{dot}{error.field}", error.limit) from error


def placement_task(files: Sequence[PlacementFile], servers: Sequence[Server] | None = None) -> PlacementTask:
    """Return what several files ask for together.

    Args:
        servers: instead of those in the files.

    Raises:
        ChainFileError: a type is not known, or a name is there twice; of the file that ``file_of`` names.
    """
    at_hand = servers if servers is not None else _first(files, "servers", SERVERS_DEFAULT)
    constants = _first(files, "constants", CostConstants())
    cores = _first(files, "instance_cores", 1.0)
    demands, seen = [], set()
    for file in files:
        types = {**built_in_types(), **file.types}
        for index, (definition, weight) in enumerate(file.chains):
            try:
                if definition["name"] in seen:
                    raise InvalidInputError("name", f"must be unique; {definition['name']} came before")
                seen.add(definition["name"])
                chain = chain_of(definition, types)
            except InvalidInputError as error:
                raise FileProblem(file, file.located(index, error)) from error
            demands.append(demand_of(chain, constants, weight=weight, cores=cores, servers=at_hand))
    return PlacementTask(tuple(demands), tuple(at_hand), constants)


class FileProblem(Exception):  # noqa: N818  it carries the error
    """An error with the file that it is in."""

    def __init__(self, file: PlacementFile, error: ChainFileError) -> None:
        super().__init__(str(error))
        self.file = file
        self.error = error


def _first(files: Sequence[PlacementFile], name: str, otherwise: Any) -> Any:
    return next((getattr(file, name) for file in files if getattr(file, name) is not None), otherwise)


def files_place(task: PlacementTask, before: Before | None, exact_s: float) -> Placement | Infeasible:
    """Return the placement of a task, exact where it is small."""
    return place(task, before=before, effort=Effort(exact_s=exact_s))
