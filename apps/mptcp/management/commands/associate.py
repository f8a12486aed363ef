"""``manage.py associate FILE...``: connections of capture files; needs neither portal nor database."""

import json
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.mptcp.engine.filters import DIRECTIONS
from apps.mptcp.file_association import FileReport, ReadOptions, answer_lines, associate_files
from nfvportal.lib.errors import InvalidInputError

EXIT_PARTLY = 3


class Command(BaseCommand):
    """Exit code 0: all was read; 1: nothing could be, or an option breaks a limit; 3: a file is cut or broken."""

    help = (
        "Tell which subflows in capture files form which Multipath TCP connection. See apps/mptcp/README.md."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the command's arguments."""
        parser.add_argument(
            "files", type=Path, nargs="+", metavar="FILE", help="pcap or pcapng; one per observation point"
        )
        parser.add_argument(
            "--sample", type=float, default=1.0, metavar="P", help="look at this share of the packets"
        )
        parser.add_argument("--seed", type=int, default=1, metavar="S", help="which packets are sampled")
        parser.add_argument(
            "--start-after", type=float, default=0.0, metavar="SEC", help="pass over the first seconds"
        )
        parser.add_argument("--direction", choices=DIRECTIONS, default="", help="look at one direction only")
        parser.add_argument("--without-tokens", action="store_true", help="pass over keys and tokens")
        parser.add_argument("--width32", action="store_true", help="cut sequence numbers to 32 bits")
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        """Read, associate, print; what is wrong with a file goes to the error output."""
        chosen = ReadOptions(
            sample=options["sample"],
            seed=options["seed"],
            start_after_s=options["start_after"],
            direction=options["direction"],
            without_tokens=options["without_tokens"],
            width32=options["width32"],
        )
        try:
            answer = associate_files(options["files"], chosen)
        except InvalidInputError as error:
            is_file = error.field == "file"
            raise CommandError(
                error.limit if is_file else f"--{error.field.replace('_', '-')} {error.limit}"
            ) from error
        troubled = [file for file in answer.files if file.trouble]
        if useless := [file for file in troubled if not file.is_usable]:
            raise CommandError("\n".join(_words(file) for file in useless))
        for file in troubled:
            self.stderr.write(_words(file))
        if options["json"]:
            self.stdout.write(json.dumps(answer.as_json(), allow_nan=False))
        else:
            self.stdout.write("\n".join(answer_lines(answer)))
        if troubled:
            raise SystemExit(EXIT_PARTLY)


def _words(file: FileReport) -> str:
    return f"{file.path} {file.trouble}"
