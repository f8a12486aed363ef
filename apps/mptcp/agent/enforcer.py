"""Role ``mptcp.enforcer``: stops connections that a verdict names, on the gateway that their packets pass.

Spec: ``{"verdicts": [{"id": 5, "flows": [["10.1.1.10", 40000, "10.2.0.10", 5001]], "tokens": [2399802061],
"expires_at_s": 1764129600.0}]}``; ``{}`` or no verdicts: nothing of ours is left on the device.

All is one table of nftables, replaced whole in one transaction; other tables are not touched. Flows are stopped in both
directions. A later subflow is stopped by its SYN, which names the token, in the kernel: no packet of it passes, and the
portal need not be there. A verdict ends by its time in the kernel too, with neither portal nor agent.
"""

import asyncio
import contextlib
import json
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Final

from nfvportal.agent.role import RoleContext
from nfvportal.lib.errors import InvalidInputError

TABLE: Final = "nfvportal_mptcp"
VERDICTS_MAX: Final = 256
FLOWS_MAX: Final = 256
TOKENS_MAX: Final = 64
CHECK_EVERY_S: Final = 10.0
NFT_WITHIN_S: Final = 10.0
HOOKS: Final = ("forward", "input", "output")
Flow = tuple[str, int, str, int]


@dataclass(frozen=True, slots=True)
class EnforcedVerdict:
    """One verdict: its flows in either direction, and the tokens that joins of its connection name."""

    id: int
    flows: tuple[Flow, ...]
    tokens: tuple[int, ...]
    expires_at_s: int


def parse_enforcer_spec(spec: Mapping[str, Any]) -> tuple[EnforcedVerdict, ...]:
    """Return the checked verdicts.

    Raises:
        InvalidInputError: naming the field and its limit.
    """
    if unknown := sorted(spec.keys() - {"verdicts"}):
        raise InvalidInputError(str(unknown[0])[:64], "is not a field of an enforcer")
    verdicts = spec.get("verdicts", [])
    if not isinstance(verdicts, list) or len(verdicts) > VERDICTS_MAX:
        raise InvalidInputError("verdicts", f"must be a list of at most {VERDICTS_MAX}")
    return tuple(_verdict(f"verdicts[{index}]", item) for index, item in enumerate(verdicts))


def _verdict(field: str, item: object) -> EnforcedVerdict:
    if not isinstance(item, dict) or item.keys() != {"id", "flows", "tokens", "expires_at_s"}:
        raise InvalidInputError(field, "must have id, flows, tokens, expires_at_s and nothing else")
    flows, tokens = item["flows"], item["tokens"]
    if not isinstance(flows, list) or len(flows) > FLOWS_MAX:
        raise InvalidInputError(f"{field}.flows", f"must be a list of at most {FLOWS_MAX}")
    if not isinstance(tokens, list) or len(tokens) > TOKENS_MAX:
        raise InvalidInputError(f"{field}.tokens", f"must be a list of at most {TOKENS_MAX}")
    return EnforcedVerdict(
        _whole(f"{field}.id", item["id"], 2**63 - 1),
        tuple(_flow(f"{field}.flows[{index}]", flow) for index, flow in enumerate(flows)),
        tuple(_whole(f"{field}.tokens[{index}]", token, 2**32 - 1) for index, token in enumerate(tokens)),
        _moment(f"{field}.expires_at_s", item["expires_at_s"]),
    )


def _flow(field: str, item: object) -> Flow:
    if not isinstance(item, list) or len(item) != 4:
        raise InvalidInputError(field, "must be an address, a port, an address and a port")
    try:
        a, b = ip_address(item[0]), ip_address(item[2])
    except ValueError as error:
        raise InvalidInputError(field, "must hold two IP addresses") from error
    is_plain = all(isinstance(text, str) and "%" not in text for text in (item[0], item[2]))
    if a.version != b.version or not is_plain:  # a scope could hold anything, and become a command of nft
        raise InvalidInputError(field, "must hold two addresses of one version, as text and without a scope")
    return str(a), _whole(field, item[1], 65535), str(b), _whole(field, item[3], 65535)


def _whole(field: str, value: object, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= high:
        raise InvalidInputError(field, f"must be a whole number from 0 to {high}")
    return value


def _moment(field: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 2**33:
        raise InvalidInputError(field, "must be a time in epoch seconds")
    return int(value)


def table_text(verdicts: Sequence[EnforcedVerdict]) -> str:
    """Return the commands that make our table hold exactly these verdicts; without any there is no table."""
    lines = [f"table inet {TABLE} {{ }}", f"delete table inet {TABLE}"]
    if not verdicts:
        return "\n".join(lines) + "\n"
    lines.append(f"table inet {TABLE} {{")
    for verdict in verdicts:
        lines += [f" chain verdict-{verdict.id} {{", *_rules(verdict), " }"]
    lines += [
        " chain verdicts {",
        *(f"  meta time < {verdict.expires_at_s} jump verdict-{verdict.id}" for verdict in verdicts),
        " }",
    ]
    for hook in HOOKS:
        lines += [
            f" chain {hook} {{",
            f"  type filter hook {hook} priority -10; policy accept;",
            "  meta l4proto tcp jump verdicts",
            " }",
        ]
    return "\n".join([*lines, "}"]) + "\n"


def _rules(verdict: EnforcedVerdict) -> list[str]:
    rules = []
    for family, mark in (("ip", "."), ("ip6", ":")):
        flows = [flow for flow in verdict.flows if mark in flow[0]]
        ends = [f"{a} . {p} . {b} . {q}, {b} . {q} . {a} . {p}" for a, p, b, q in flows]
        if ends:
            key = f"{family} saddr . tcp sport . {family} daddr . tcp dport"
            rules.append(f"  {key} {{ {', '.join(dict.fromkeys(ends))} }} counter drop")
    if verdict.tokens:
        tokens = ", ".join(f"0x{token:08x}" for token in dict.fromkeys(verdict.tokens))
        # MP_JOIN of a SYN: kind 30, length 12, subtype 1 in the upper half of the third byte, token from the fifth on.
        join = "tcp flags & (syn | ack) == syn tcp option @30,16,4 1 tcp option @30,32,32"
        rules.append(f"  {join} {{ {tokens} }} counter drop")
    return rules


def run_nft(arguments: Sequence[str], text: str = "") -> str:
    """Return what nft prints.

    Raises:
        RuntimeError: nft is missing, or says why it refused.
    """
    program = shutil.which("nft") or shutil.which("nft", path="/usr/sbin:/sbin")
    if program is None:
        raise RuntimeError("nft is missing; install the package nftables on this gateway")
    done = subprocess.run(
        [program, *arguments], input=text, capture_output=True, text=True, timeout=NFT_WITHIN_S, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(f"nft refused: {done.stderr.strip()[:500]}")
    return done.stdout


class Enforcer:
    """The role; see nfvportal.agent.role.Role."""

    def __init__(self, context: RoleContext) -> None:
        self._context = context
        self._wanted: tuple[EnforcedVerdict, ...] = ()
        self._in_force: tuple[EnforcedVerdict, ...] = ()
        self._keeper: asyncio.Task[None] | None = None
        self._lock = asyncio.Lock()

    async def apply(self, spec: Mapping[str, Any]) -> None:
        """Stop what the spec names, and nothing else.

        Raises:
            InvalidInputError: a field breaks its limit.
            RuntimeError: nft is missing or refuses.
        """
        self._wanted = parse_enforcer_spec(spec)
        await self._enforce()
        if self._keeper is None:
            self._keeper = asyncio.create_task(self._keep(), name="mptcp enforcer")

    def snapshot(self) -> Mapping[str, object]:
        """Return which verdicts are in force here and how many packets each has stopped."""
        return {
            "verdicts": [verdict.id for verdict in self._in_force],
            "dropped_counts": {str(key): count for key, count in dropped_counts().items()},
        }

    async def close(self) -> None:
        """Stop looking after the table; what is in force stays, and ends by its time."""
        if self._keeper is not None:
            self._keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeper
            self._keeper = None

    async def _enforce(self) -> None:
        async with self._lock:
            now_s = time.time()
            alive = tuple(verdict for verdict in self._wanted if verdict.expires_at_s > now_s)
            await asyncio.to_thread(run_nft, ["-f", "-"], table_text(alive))
            self._in_force = alive

    async def _keep(self) -> None:
        """Take away what is over, and put back what somebody else took away."""
        while True:
            await asyncio.sleep(CHECK_EVERY_S)
            now_s = time.time()
            is_over = any(verdict.expires_at_s <= now_s for verdict in self._in_force)
            try:
                if is_over or bool(self._in_force) != await asyncio.to_thread(has_table):
                    await self._enforce()
            except (RuntimeError, OSError, subprocess.SubprocessError) as error:
                self._context.emit("mptcp.enforcer_failed", {"error": str(error)[:500]})


def has_table() -> bool:
    """Whether our table is there."""
    tables = json.loads(run_nft(["--json", "list", "tables"]))["nftables"]
    return any(row.get("table", {}).get("name") == TABLE for row in tables)


def dropped_counts() -> dict[int, int]:
    """Return verdict -> packets stopped since its rules were last replaced; empty where nothing is in force."""
    try:
        rows = json.loads(run_nft(["--json", "list", "table", "inet", TABLE]))["nftables"]
    except (RuntimeError, OSError, subprocess.SubprocessError):
        return {}
    counts: dict[int, int] = {}
    for row in rows:
        rule = row.get("rule", {})
        name, _, number = str(rule.get("chain", "")).partition("-")
        if name == "verdict" and number.isdigit():
            counted = sum(
                part["counter"]["packets"] for part in rule["expr"] if isinstance(part.get("counter"), dict)
            )
            counts[int(number)] = counts.get(int(number), 0) + counted
    return counts
