"""Foreign programs: how each is checked, started in its namespace, and asked what it saw.

A program is started by the proxy after it moved into the namespace of ``foreign_space``, and ends with the proxy.
"""

import json
import os
import re
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final, Protocol

from apps.chains.agent.foreign_space import command, is_listened_to, tool
from apps.chains.agent.specs import NfSpec
from apps.chains.engine.capture_file import write_pcap
from apps.chains.engine.foreign import nftables_ruleset, ngrep_pattern
from apps.chains.engine.nft_rules import counters_of, ruleset_check
from nfvportal.lab.kernel import die_with_parent, inside_network, new_network
from nfvportal.lib.errors import InvalidInputError

_WHERE: Final = re.compile(r"/dev/stdin:(\d+):(\d+)(?:-\d+)?: (?:Error: )?")
# A packet in which something was found: protocol, then addresses. Its payload is on the same line.
_NGREP_FOUND: Final = re.compile(r"\S \S+ -> \S+ ")
# The line after which nothing is wrong with the pattern.
_NGREP_READY: Final = "match"
START_WITHIN_S: Final = 10.0
LISTING: Final = ("nft", "-j", "list", "ruleset")
Figures = dict[str, Any]


class Program(Protocol):
    """A foreign program in the namespace that this process is in."""

    def start(self) -> None:
        """Start it, or load its rules.

        Raises:
            OSError: it is not there, or refuses.
        """
        ...

    def figures(self) -> Figures:
        """Return what it says of the packets it saw; may take milliseconds.

        Raises:
            OSError: it does not answer.
        """
        ...


class Nftables:
    """The kernel's firewall with an operator's rules on the bridge."""

    def __init__(self, params: Mapping[str, Any]) -> None:
        self._ruleset = nftables_ruleset(params)

    def start(self) -> None:
        """Load the rules."""
        command(["nft", "-f", "-"], self._ruleset)

    def figures(self) -> Figures:
        """Return packets and bytes of every counter in the rules."""
        return {"counters": counters_of(_listing())}


def _listing() -> dict[str, Any]:
    listing: dict[str, Any] = json.loads(command(LISTING))
    return listing


def nftables_check(params: Mapping[str, Any]) -> None:
    """Load rules in a namespace that goes away, and look at what nft made of them.

    Raises:
        InvalidInputError: ``params.ruleset``: nft is not here, refuses them, or they do what the profile denies.
    """
    try:
        listing = _loaded(Nftables(params))
    except FileNotFoundError as error:
        raise InvalidInputError("type", "needs nft on this server: install nftables there") from error
    except subprocess.TimeoutExpired as error:
        raise InvalidInputError("params.ruleset", "takes nft too long to load: make it smaller") from error
    except OSError as error:
        raise InvalidInputError("params.ruleset", nft_words(str(error))) from error
    ruleset_check(listing)


def _loaded(rules: Nftables) -> dict[str, Any]:
    namespace = new_network()
    try:
        with inside_network(namespace):
            rules.start()
            return _listing()
    finally:
        os.close(namespace)


class Ngrep:
    """Searches the payloads of what enters the bridge; packets do not wait for it."""

    def __init__(self, params: Mapping[str, Any]) -> None:
        self._pattern, self._is_ignoring_case = ngrep_pattern(params)
        self._found = 0
        self._process: subprocess.Popen[str]

    def start(self) -> None:
        """Start it, and wait until it looks at packets."""
        arguments = [tool("ngrep"), "-d", "in", "-q", "-l", "-R", "-W", "single"]
        arguments += ["-i"] * self._is_ignoring_case
        self._process = subprocess.Popen(
            [*arguments, "--", self._pattern],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            errors="replace",
            preexec_fn=die_with_parent,
        )
        deadline_s = time.monotonic() + START_WITHIN_S
        while not is_listened_to("in"):
            if self._process.poll() is not None or time.monotonic() > deadline_s:
                raise ChildProcessError("ngrep did not start")
            time.sleep(0.005)
        threading.Thread(target=self._count, daemon=True).start()

    def _count(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if _NGREP_FOUND.match(line):
                self._found += 1

    def figures(self) -> Figures:
        """Return in how many packets it found the pattern."""
        if self._process.poll() is not None:
            raise ChildProcessError("ngrep ended")
        return {"found": self._found}


def ngrep_check(params: Mapping[str, Any]) -> None:
    """Let it search no packets at all.

    Raises:
        InvalidInputError: ngrep is not here, or does not take the pattern.
    """
    pattern, _ = ngrep_pattern(params)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "empty.pcap")
        with path.open("wb") as file:
            write_pcap(file, ())
        try:
            command(["ngrep", "-q", "-R", "-I", str(path), "--", pattern])
        except FileNotFoundError as error:
            raise InvalidInputError("type", "needs ngrep on this server: install ngrep there") from error
        except subprocess.TimeoutExpired as error:
            raise InvalidInputError("params.pattern", "takes ngrep too long to read") from error
        except OSError as error:
            # As grep does, it fails where it finds nothing; what it looks for is then its last word.
            said = str(error).strip().splitlines()[-1]
            if not said.startswith(_NGREP_READY):
                raise InvalidInputError("params.pattern", f"{said[:200]} (ngrep)") from error


def nft_words(said: str) -> str:
    """Return nft's complaint as one line, with line and column of the first error.

    >>> nft_words("/dev/stdin:2:7-9: Error: syntax error, unexpected dport\\n  tcp dprt\\n")
    'line 2, column 7: syntax error, unexpected dport (nft)'
    """
    first = said.strip().splitlines()[0] if said.strip() else "refused without a word"
    return _WHERE.sub(r"line \1, column \2: ", first, count=1)[:300] + " (nft)"


# TABLE: type -> what it is, how its settings are checked on the server
PROGRAMS: Final[
    dict[str, tuple[Callable[[Mapping[str, Any]], Program], Callable[[Mapping[str, Any]], None]]]
] = {
    "nftables": (Nftables, nftables_check),
    "ngrep": (Ngrep, ngrep_check),
}


def foreign_nfs_check(nfs: Iterable[NfSpec]) -> None:
    """Ask the foreign programs of a spec whether they can run with their settings.

    Raises:
        InvalidInputError: ``nfs[<index>].<field>``; the limit is in the program's own words.
    """
    for index, nf in enumerate(nfs):
        program = PROGRAMS.get(nf.type)
        if program is not None:
            try:
                program[1](nf.params)
            except InvalidInputError as error:
                raise InvalidInputError(
                    f"nfs[{index}].{error.field}", f"{error.limit}, in {nf.instance}"
                ) from error
