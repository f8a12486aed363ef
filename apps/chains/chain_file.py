"""Chains in YAML files: read with line and field in every error, written in the order people read. Pure.

The schema is that of REST (``chain_definition``), and at the top level also ``servers`` and ``nf_types``, with which a
file can be planned and verified without a portal. See ``apps/chains/README.md``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import yaml

from apps.chains.chain_definition import (
    Definition,
    KnownType,
    ServerJson,
    definition_parse,
    fields_of,
    number,
    servers_parse,
    service_parse,
    text_of,
    type_slug,
)
from apps.chains.engine.chain import CostConstants, ServiceTime
from apps.chains.plan_json import profile_parse
from nfvportal.lib.errors import InvalidInputError

FILE_MAX_CHARS: Final = 262_144
DEPTH_MAX: Final = 16
TYPES_MAX: Final = 64
SERVICE_DEFAULT: Final = ServiceTime(10.0)


class ChainFileError(InvalidInputError):
    """A file that breaks a limit; ``line`` counts from 1."""

    def __init__(self, line: int, field: str, limit: str) -> None:
        super().__init__(field, limit)
        self.line = line

    def __str__(self) -> str:
        return f"line {self.line}: {super().__str__()}"


@dataclass(frozen=True, slots=True)
class ChainFile:
    """What a file says. ``servers`` is empty and ``constants`` is ``None`` when the file leaves them out.

    ``lines``: field -> its line, for what is found wrong later.
    """

    definition: Definition
    servers: tuple[ServerJson, ...]
    types: Mapping[str, KnownType]
    constants: CostConstants | None
    lines: Mapping[str, int]

    def located(self, error: InvalidInputError) -> ChainFileError:
        """Return an error about the file's chain with the line that it speaks of."""
        return ChainFileError(line_of(self.lines, error.field), error.field, error.limit)


def chain_file_read(text: str) -> ChainFile:
    """Return the chain that a YAML text describes.

    Raises:
        ChainFileError: naming line, field and limit.
    """
    data, lines = yaml_read(text)
    try:
        return _file(data, lines)
    except InvalidInputError as error:
        raise ChainFileError(line_of(lines, error.field), error.field, error.limit) from error


def yaml_read(text: str, max_chars: int = FILE_MAX_CHARS) -> tuple[Any, dict[str, int]]:
    """Return what a YAML text says, and the line of every field.

    Raises:
        ChainFileError: it is no YAML, too large or too deep, has aliases, or a field twice.
    """
    node = _compose(text, max_chars)
    lines: dict[str, int] = {}
    _lines_of(node, "", lines, 0)
    return _construct(node), lines


def chain_file_write(definition: Definition) -> str:
    """Return a chain as YAML that ``chain_file_read`` takes; what has its default is left out."""
    nfs = [
        {name: value for name, value in nf.items() if value not in ("", False, {})}
        for nf in definition["nfs"]
    ]
    optional = {"title": "", "match": {}, "packet_bytes": 724.0, "slo_p99_ms": None, "replan": "propose"}
    fields: dict[str, Any] = {"name": definition["name"]}
    for name in ("title", "rate_pps", "packet_bytes", "slo_p99_ms", "replan", "match"):
        value = definition[name]
        if name not in optional or value != optional[name]:
            fields[name] = value
    text: str = yaml.safe_dump({**fields, "nfs": nfs}, sort_keys=False, allow_unicode=True, width=110)
    return text


def _file(data: object, lines: Mapping[str, int]) -> ChainFile:
    known = ("name", "title", "nfs", "match", "rate_pps", "packet_bytes", "slo_p99_ms", "replan")
    fields = fields_of("", data, optional=(*known, "servers", "nf_types", "constants"))
    servers = servers_parse("servers", fields["servers"]) if "servers" in fields else []
    types = types_parse(fields.get("nf_types", {}))
    constants = constants_parse(fields["constants"]) if "constants" in fields else None
    definition = definition_parse({name: value for name, value in fields.items() if name in known})
    return ChainFile(definition, tuple(servers), types, constants, lines)


def types_parse(data: object) -> dict[str, KnownType]:
    """Return the types that a file brings along, checked."""
    if not isinstance(data, dict) or len(data) > TYPES_MAX:
        raise InvalidInputError("nf_types", f"must be an object of at most {TYPES_MAX} types")
    types = {}
    for slug, item in data.items():
        field = f"nf_types.{slug}"
        fields = fields_of(
            field, item, required=("profile",), optional=("title", "service", "implementation")
        )
        text_of(f"{field}.title", fields.get("title", ""), 100)
        service = SERVICE_DEFAULT
        if "service" in fields:
            service = ServiceTime(**service_parse(f"{field}.service", fields["service"]))
        implementation = fields.get("implementation", "")
        if implementation != "":
            implementation = type_slug(f"{field}.implementation", implementation)
        profile = profile_parse(f"{field}.profile", fields["profile"])
        types[type_slug(field, slug)] = KnownType(profile, service, implementation)
    return types


def constants_parse(data: object) -> CostConstants:
    """Return what plumbing costs, checked; what is left out has its default."""
    names = tuple(CostConstants.__dataclass_fields__)
    fields = fields_of("constants", data, optional=names)
    return CostConstants(
        **{name: number(f"constants.{name}", value, 0, 1e7) for name, value in fields.items()}
    )


def _compose(text: str, max_chars: int) -> yaml.Node:
    """Return the text's node tree, without aliases: a few of them make a small file huge."""
    if len(text) > max_chars:
        raise ChainFileError(1, "", f"must have at most {max_chars} characters")
    try:
        depth = 0
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > DEPTH_MAX:  # the parser takes quadratic time for what is nested deeply
                raise ChainFileError(
                    _line_of(event.start_mark), "", f"must be nested at most {DEPTH_MAX} deep"
                )
            if isinstance(event, yaml.AliasEvent):
                raise ChainFileError(_line_of(event.start_mark), "", "must not use aliases (*name)")
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise ChainFileError(_line_of(mark), "", f"must be YAML: {error.problem}") from error
    except (yaml.YAMLError, RecursionError) as error:
        raise ChainFileError(1, "", f"must be YAML: {error}"[:300]) from error
    if not isinstance(node, yaml.MappingNode):
        raise ChainFileError(1, "", "must be a mapping with name, nfs and rate_pps")
    return node


def _line_of(mark: Any) -> int:
    """Return the line of a YAML mark, counted from 1; the parser leaves out some."""
    return int(mark.line) + 1 if mark is not None else 1


def _construct(node: yaml.Node) -> Any:
    loader = yaml.SafeLoader("")
    try:
        return loader.construct_document(node)
    except (yaml.MarkedYAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None) or node.start_mark
        words = getattr(error, "problem", None) or error
        raise ChainFileError(_line_of(mark), "", f"must be plain YAML: {words}"[:300]) from error
    finally:
        loader.dispose()


def _lines_of(node: yaml.Node, path: str, lines: dict[str, int], depth: int) -> None:
    """Note the line of every field; refuse a field that is there twice, which YAML would silently overwrite."""
    lines.setdefault(path, _line_of(node.start_mark))
    if depth > DEPTH_MAX:
        raise ChainFileError(_line_of(node.start_mark), path, f"must be at most {DEPTH_MAX} levels deep")
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            _lines_of(item, f"{path}[{index}]", lines, depth + 1)
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            name = str(key.value)[:64] if isinstance(key, yaml.ScalarNode) else "?"
            field = f"{path}.{name}" if path else name
            if name in seen:
                raise ChainFileError(_line_of(key.start_mark), field, "is given twice")
            seen.add(name)
            lines[field] = _line_of(key.start_mark)
            _lines_of(value, field, lines, depth + 1)


def line_of(lines: Mapping[str, int], field: str) -> int:
    """Return the line of a field, or of the nearest thing around it: what is missing has no line of its own."""
    while field not in lines and field:
        cut = max(field.rfind("."), field.rfind("["))
        field = field[:cut] if cut > 0 else ""
    return lines.get(field, 1)
