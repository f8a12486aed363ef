"""Foreign programs: how each is checked, started in its namespace, and asked what it saw.

A program is started by the proxy after it moved into the namespace of ``foreign_space``, and ends with the proxy.
"""

import json
import os
import re
import subprocess
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Protocol

from apps.chains.agent.foreign_space import command
from apps.chains.agent.specs import NfSpec
from apps.chains.engine.foreign import nftables_ruleset
from apps.chains.engine.nft_rules import counters_of, ruleset_check
from nfvportal.lab.kernel import inside_network, new_network
from nfvportal.lib.errors import InvalidInputError

_WHERE: Final = re.compile(r"/dev/stdin:(\d+):(\d+)(?:-\d+)?: (?:Error: )?")
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
