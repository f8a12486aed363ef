"""``manage.py chain place FILE.yml ...``: many chains in files, placed together; needs neither portal nor database."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.chains.chain_definition import number, servers_parse
from apps.chains.chain_file import ChainFileError
from apps.chains.engine.chain import Server
from apps.chains.engine.placement_answer import Before
from apps.chains.placement_file import (
    FILE_MAX_CHARS,
    FileProblem,
    PlacementFile,
    files_place,
    placement_file_read,
    placement_task,
)
from apps.chains.placement_json import before_from_json, placement_lines, placement_to_json
from apps.chains.plan_json import servers_from_json
from nfvportal.lib.errors import InvalidInputError


def place_arguments(parser: CommandParser) -> None:
    """Declare the arguments of ``place``."""
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE.yml", help="chains, or lists of them")
    parser.add_argument(
        "--servers", default=None, metavar="NAME:CORES[:LINK_BPS],...", help="instead of those in the files"
    )
    parser.add_argument(
        "--previous", type=Path, default=None, metavar="FILE.json", help="move few buckets from it"
    )
    parser.add_argument(
        "--exact-s", type=float, default=5.0, help="seconds per term for the exact solver; 0 for none"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def place_handle(command: BaseCommand, options: Mapping[str, Any]) -> None:
    """Place, and print it; exit code 1 where a chain is refused, nothing can be placed, or an input breaks a limit."""
    files = [_read(path) for path in options["files"]]
    try:
        servers = _servers(options["servers"]) if options["servers"] is not None else None
        before = _previous(options["previous"]) if options["previous"] is not None else None
        exact_s = number("--exact-s", options["exact_s"], 0, 3600)
        task = placement_task(files, servers)
        answer = files_place(task, before, exact_s)
    except FileProblem as problem:
        raise _refusal(problem.file.path, problem.error) from problem
    except InvalidInputError as error:
        raise CommandError(str(error)) from error
    content = placement_to_json(answer, task)
    command.stdout.write(
        json.dumps(content, allow_nan=False) if options["json"] else "\n".join(placement_lines(content))
    )
    if content["kind"] == "infeasible" or content["refused"]:
        raise SystemExit(1)


def _read(path: Path) -> PlacementFile:
    try:
        return placement_file_read(path, path.read_text(errors="strict")[: FILE_MAX_CHARS + 1])
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"cannot read {path}: {error}") from error
    except ChainFileError as error:
        raise _refusal(path, error) from error


def _servers(text: str) -> tuple[Server, ...]:
    rows = []
    for index, part in enumerate(text.split(",")):
        name, *numbers = part.split(":")
        try:
            values = [float(value) for value in numbers]
        except ValueError as error:
            raise InvalidInputError(
                f"--servers[{index}]", "must be NAME:CORES or NAME:CORES:LINK_BPS"
            ) from error
        if not 1 <= len(values) <= 2:
            raise InvalidInputError(f"--servers[{index}]", "must be NAME:CORES or NAME:CORES:LINK_BPS")
        rows.append(
            {"name": name, "cores": values[0], **({"link_bps": values[1]} if len(values) == 2 else {})}
        )
    return servers_from_json(servers_parse("--servers", rows))


def _previous(path: Path) -> Before:
    try:
        return before_from_json("--previous", json.loads(path.read_text()))
    except (OSError, UnicodeDecodeError, ValueError) as error:
        if isinstance(error, InvalidInputError):
            raise
        raise InvalidInputError("--previous", f"cannot be read as JSON: {error}") from error


def _refusal(path: Path, error: ChainFileError) -> CommandError:
    return CommandError(f"{path}:{error.line}: {error.field or 'file'}: {error.limit}")
