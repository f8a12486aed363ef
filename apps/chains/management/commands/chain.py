"""``manage.py chain plan|verify|export|place FILE.yml``: chains in files; needs neither portal nor database."""

import json
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.chains.chain_export import FORMATS, chain_export, openflow_write
from apps.chains.chain_file import FILE_MAX_CHARS, ChainFile, ChainFileError, chain_file_read
from apps.chains.engine.capture_file import read_pcap
from apps.chains.engine.compile import compile_plan
from apps.chains.engine.hybrid import Plan
from apps.chains.engine.shim import PATH_MAX
from apps.chains.engine.steering import groups_of
from apps.chains.file_planning import FilePlan, file_plan, file_verify, plan_lines, random_packets
from apps.chains.place_command import place_arguments, place_handle
from nfvportal.lib.errors import InvalidInputError

PACKETS_DEFAULT, PACKETS_MAX = 10_000, 10_000_000


class OptionError(InvalidInputError):
    """An option of the command breaks a limit, not the file."""


class Command(BaseCommand):
    """Exit code 0: planned, equal, or written; 1: no plan, different, or a file that breaks a limit."""

    help = "Plan a chain in a YAML file, verify its plan by running both, or export it. See apps/chains/README.md."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the command's arguments."""
        actions = parser.add_subparsers(dest="action", required=True)
        plan = actions.add_parser("plan", help="print the hybrid chain with its proof and figures")
        verify = actions.add_parser(
            "verify", help="run chain and plan side by side and compare every byte and state"
        )
        export = actions.add_parser("export", help="print the chain for another orchestrator")
        for action in (plan, verify, export):
            action.add_argument("file", type=Path, metavar="FILE.yml")
        for action in (plan, verify):
            action.add_argument("--json", action="store_true", help="print one JSON object")
        verify.add_argument(
            "--packets", type=int, default=None, help=f"random packets ({PACKETS_DEFAULT} by default)"
        )
        verify.add_argument("--seed", type=int, default=1, help="seed of packets and schedules")
        verify.add_argument(
            "--pcap", type=Path, default=None, help="a capture file instead of random packets"
        )
        export.add_argument("--format", choices=(*FORMATS, "openflow"), default="yaml")
        export.add_argument(
            "--path", type=int, default=1, help="number of the path in the rules for a switch (openflow)"
        )
        place_arguments(
            actions.add_parser("place", help="place many chains over shared servers and instances")
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Do it, and turn what is wrong with a file into one line that names the place."""
        if options["action"] == "place":
            place_handle(self, options)
            return
        path: Path = options["file"]
        try:
            text = path.read_text(errors="strict")[: FILE_MAX_CHARS + 1]
            file = chain_file_read(text)
        except (OSError, UnicodeDecodeError) as error:
            raise CommandError(f"cannot read {path}: {error}") from error
        except ChainFileError as error:
            raise _refusal(path, error) from error
        try:
            getattr(self, f"_{options['action']}")(file, options)
        except OptionError as error:
            raise CommandError(str(error)) from error
        except InvalidInputError as error:
            raise _refusal(path, file.located(error)) from error

    def _plan(self, file: ChainFile, options: dict[str, Any]) -> None:
        plan = file_plan(file).as_json()
        self.stdout.write(
            json.dumps(plan, allow_nan=False) if options["json"] else "\n".join(plan_lines(plan))
        )
        if plan["kind"] == "infeasible":
            raise SystemExit(1)

    def _verify(self, file: ChainFile, options: dict[str, Any]) -> None:
        planned = file_plan(file)
        if not isinstance(planned.answer, Plan):
            raise OptionError("", f"there is no plan to verify: {planned.answer.witness}")
        packets = self._packets(planned, options)
        report = file_verify(planned, packets, options["seed"])
        data = {"chain": planned.chain.name, "seed": options["seed"], **report.as_json()}
        if options["json"]:
            self.stdout.write(json.dumps(data))
        else:
            words = "equal" if report.difference is None else f"DIFFERENT: {report.difference}"
            self.stdout.write(
                f"{planned.chain.name}: {report.packet_count} packets, {report.run_count} runs, seed "
                f"{options['seed']}: outputs and states {words}"
            )
            if report.made_up:
                self.stdout.write(f"played by their profiles: {', '.join(report.made_up)}")
        if report.difference is not None:
            raise SystemExit(1)

    def _packets(self, planned: FilePlan, options: dict[str, Any]) -> list[tuple[int, bytes]]:
        if options["pcap"] is None:
            count = PACKETS_DEFAULT if options["packets"] is None else options["packets"]
            if not 1 <= count <= PACKETS_MAX:
                raise OptionError("--packets", f"must be from 1 to {PACKETS_MAX}")
            return random_packets(planned.chain, count, options["seed"])
        if options["packets"] is not None:
            raise OptionError("--packets", "must be left out with --pcap")
        try:
            with options["pcap"].open("rb") as capture:
                return list(read_pcap(capture))
        except InvalidInputError as error:
            raise OptionError("--pcap", error.limit) from error
        except OSError as error:
            raise OptionError("--pcap", f"cannot be read: {error}") from error

    def _export(self, file: ChainFile, options: dict[str, Any]) -> None:
        if options["format"] == "openflow":
            text = self._rules(file, options["path"])
        else:
            text = chain_export(file.definition, options["format"])
        self.stdout.write(text, ending="")

    def _rules(self, file: ChainFile, path: int) -> str:
        """Return the rules of the file's plan; the switch's ports are taken to be named like the servers."""
        if not 1 <= path <= PATH_MAX:
            raise OptionError("--path", f"must be from 1 to {PATH_MAX}")
        planned = file_plan(file)
        if not isinstance(planned.answer, Plan):
            raise OptionError("", f"there is no plan to export: {planned.answer.witness}")
        table = compile_plan(planned.chain, planned.answer.root)
        servers = {operator.server for operator in table.operators}
        return openflow_write(planned.chain.name, groups_of(table, path, 1), {name: name for name in servers})


def _refusal(path: Path, error: ChainFileError) -> CommandError:
    return CommandError(f"{path}:{error.line}: {error.field or 'file'}: {error.limit}")
