"""Commands that drivers of a switch run, and the bridge they program."""

import asyncio
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

COMMAND_WITHIN_S: Final = 10.0
_FAILED_LINE: Final = re.compile(r"Command failed -:(\d+)")


@dataclass(frozen=True, slots=True)
class Bridge:
    """A Linux bridge and the interfaces that are its ports, by name."""

    name: str
    ports: tuple[str, ...]


async def run(argv: Sequence[str], text: str = "") -> tuple[int, str, str]:
    """Run a command with ``text`` on its standard input; return exit code, output and what it complained about."""
    try:
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    except OSError as error:
        return 127, "", str(error)
    async with asyncio.timeout(COMMAND_WITHIN_S):
        out, error_text = await process.communicate(text.encode())
    return process.returncode or 0, out.decode(), " ".join(error_text.decode().split())


async def run_batch(program: str, commands: list[str]) -> tuple[int, str]:
    """Run commands of ``tc`` or ``bridge`` in one process, up to the first that is refused.

    Returns its index and why it was refused; an empty text when none was.
    """
    if not commands:
        return 0, ""
    code, _, error = await run([program, "-batch", "-"], "\n".join(commands) + "\n")
    if code == 0:
        return 0, ""
    line = _FAILED_LINE.search(error)
    index = int(line[1]) - 1 if line else 0
    return index, _FAILED_LINE.sub("", error).strip() or f"exit code {code}"


async def run_json(argv: Sequence[str]) -> list[dict[str, Any]]:
    """Return the rows a command prints as JSON; none where it fails."""
    _, out, _ = await run(argv)
    rows: list[dict[str, Any]] = json.loads(out or "[]")
    return rows


async def bridge_find() -> Bridge | None:
    """Return this device's bridge that has ports, the first by its first port; ``None`` where there is none."""
    rows = await run_json(["ip", "-json", "-details", "link", "show", "type", "bridge_slave"])
    slaves = [row for row in rows if row.get("master")]
    if not slaves:
        return None
    name = slaves[0]["master"]
    return Bridge(name, tuple(sorted(row["ifname"] for row in slaves if row["master"] == name)))


async def filters_of(port: str, side: str = "ingress") -> list[dict[str, Any]]:
    """Return the filters of traffic control on a port, as ``tc`` shows them."""
    return await run_json(["tc", "-json", "filter", "show", "dev", port, side])


class FilterPlaces:
    """The queueing discipline that ports need to have filters on ingress; remembers which of them are ours."""

    def __init__(self) -> None:
        self._made: set[str] = set()

    async def ensure(self, port: str) -> None:
        """Have one on a port; a refusal shows when the filter is added."""
        shown = await run_json(["tc", "-json", "qdisc", "show", "dev", port])
        if not any(row.get("kind") in ("clsact", "ingress") for row in shown):
            await run(["tc", "qdisc", "add", "dev", port, "clsact"])
            self._made.add(port)

    async def leave(self) -> None:
        """Take away those that we made and nobody else uses."""
        for port in sorted(self._made):
            if not await filters_of(port) and not await filters_of(port, "egress"):
                await run(["tc", "qdisc", "del", "dev", port, "clsact"])
        self._made.clear()
