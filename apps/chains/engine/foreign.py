"""Network functions that are not ours: programs and kernel parts that run unmodified behind a proxy on a server.

Here are their settings, checked as far as that needs no machine; what the program itself says of them is asked on the
server that runs it (``agent/foreign_programs.py``). Where no program can run, in the differential test and the
emulator, machines that do exactly what the profile says play them (``synthetic_nf.py``).

    type         settings
    nftables     ruleset: text for nft, tables of the family bridge; see nft_rules.py for what it may hold
    ngrep        pattern: regular expression to search payloads for; is_ignoring_case (false)
"""

import re
from collections.abc import Callable, Mapping
from typing import Final

from apps.chains.engine.nfs.settings import Settings
from nfvportal.lib.errors import InvalidInputError

# Within what the portal keeps as settings of one network function, as JSON.
RULESET_BYTES_MAX: Final = 12_288
PATTERN_MAX: Final = 512
_INCLUDE: Final = re.compile(r"\binclude\b")
# Such a table goes away with the nft that loaded it, or is not looked at: packets would pass unseen.
_FLAGS: Final = re.compile(r"\bflags\s+[\s\w,]*\b(owner|dormant)\b")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


def nftables_ruleset(params: Mapping[str, object]) -> str:
    """Return the rule set.

    Raises:
        InvalidInputError: ``params.ruleset`` is too long, has no table of the family bridge, or reads files.

    >>> nftables_ruleset({"ruleset": "include \\"/etc/shadow\\""})
    Traceback (most recent call last):
    ...
    nfvportal.lib.errors.InvalidInputError: params.ruleset: must not contain "include": rules come from here alone
    """
    settings = Settings(params, "params", ("ruleset",))
    text = settings.text("ruleset", RULESET_BYTES_MAX)
    if len(text.encode()) > RULESET_BYTES_MAX:
        settings.refuse("ruleset", f"must be at most {RULESET_BYTES_MAX} bytes")
    if _CONTROL.search(text):
        settings.refuse("ruleset", "must be plain text; of control characters only tabs and line ends")
    if _INCLUDE.search(text):
        settings.refuse("ruleset", 'must not contain "include": rules come from here alone')
    if _FLAGS.search(text):
        settings.refuse("ruleset", "must not have tables with the flag owner or dormant")
    if not re.search(r"\btable\s+bridge\b", text):
        settings.refuse("ruleset", "must have a table of the family bridge: table bridge NAME { ... }")
    return text


def ngrep_pattern(params: Mapping[str, object]) -> tuple[str, bool]:
    """Return the pattern, and whether small and capital letters are the same.

    Raises:
        InvalidInputError: ``params.<field>`` breaks its limit.
    """
    settings = Settings(params, "params", ("pattern", "is_ignoring_case"))
    pattern = settings.text("pattern", PATTERN_MAX)
    if _CONTROL.search(pattern) or "\n" in pattern:
        settings.refuse("pattern", "must be one line of plain text")
    return pattern, settings.flag("is_ignoring_case", False)


FOREIGN: Final[dict[str, Callable[[Mapping[str, object]], object]]] = {
    "nftables": nftables_ruleset,
    "ngrep": ngrep_pattern,
}


# Those whose verdict on a packet depends on that packet alone: after the death of their process what it held can simply
# be put in again. What they count for people starts anew.
STATELESS: Final = frozenset({"nftables", "ngrep"})


def foreign_check(type: str, params: Mapping[str, object]) -> None:
    """Refuse settings that a foreign network function cannot have.

    Raises:
        InvalidInputError: ``type`` is none of them, or ``params.<field>`` breaks its limit.
    """
    checked = FOREIGN.get(type)
    if checked is None:
        raise InvalidInputError("type", "must be one of: " + ", ".join(sorted(FOREIGN)))
    checked(params)
