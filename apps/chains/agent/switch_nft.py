"""Driver ``nft_dup``: one table of nftables with a chain on each port's ingress, replaced whole in one transaction.

A map finds a group's chain, however many groups there are; ``dup`` copies, ``fwd`` hands the original to the last
member. A group's frames bypass the bridge, so it does not learn their senders.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

from apps.chains.agent.switch_commands import Bridge, run
from apps.chains.engine.steering import PROBE_GROUP, port_copies
from nfvportal.lib.errors import InvalidInputError

TABLE: Final = "nfvportal_chains"
PROBE_TABLE: Final = "nfvportal_probe"
_ON: Final = "on-"

Copies = Mapping[tuple[str, str], tuple[str, ...]]


def table_text(table: str, copies: Copies) -> str:
    """Return the commands that make a table hold exactly these copies; without any there is no table."""
    lines = [f"table netdev {table} {{ }}", f"delete table netdev {table}"]
    if not copies:
        return "\n".join(lines) + "\n"
    chains = {targets: f"to-{index}" for index, targets in enumerate(dict.fromkeys(copies.values()))}
    lines.append(f"table netdev {table} {{")
    for targets, chain in chains.items():
        lines += [f" chain {chain} {{", f"  {_statement(targets)}", " }"]
    for port in dict.fromkeys(port for port, _ in copies):
        jumps = [f"{group} : goto {chains[targets]}" for (at, group), targets in copies.items() if at == port]
        lines += [
            f" chain {_ON}{port} {{",
            f'  type filter hook ingress device "{port}" priority 0',
            f"  ether daddr vmap {{ {', '.join(jumps)} }}",
            " }",
        ]
    return "\n".join([*lines, "}"]) + "\n"


def _statement(targets: tuple[str, ...]) -> str:
    if not targets:
        return "drop"
    return " ".join([*(f'dup to "{port}"' for port in targets[:-1]), f'fwd to "{targets[-1]}"'])


def table_copies(listed: Mapping[str, Any]) -> dict[tuple[str, str], tuple[str, ...]]:
    """Return what a table holds, from what ``nft -json list table`` shows; what is not ours in it is left out."""
    rules = [row["rule"] for row in listed.get("nftables", []) if "rule" in row]
    targets = {
        rule["chain"]: tuple(_port(one) for one in rule["expr"] if "dup" in one or "fwd" in one)
        for rule in rules
    }
    found = {}
    for rule in rules:
        for one in rule["expr"]:
            if rule["chain"].startswith(_ON) and "vmap" in one:
                for group, verdict in one["vmap"]["data"]["set"]:
                    chain = verdict["goto"]["target"]
                    found[rule["chain"].removeprefix(_ON), group] = targets.get(chain, ())
    return found


def _port(expression: Mapping[str, Any]) -> str:
    return str(expression["dup"]["addr"] if "dup" in expression else expression["fwd"]["dev"])


class NftDup:
    """Rules of nftables in the netdev family."""

    name = "nft_dup"

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge

    async def apply(self, groups: Mapping[str, frozenset[str]]) -> None:
        """Replace our table when it holds something else.

        Raises:
            InvalidInputError: the kernel refused it; then the old table stays.
        """
        wanted = port_copies(groups, self._bridge.ports)
        if await self.held() == wanted:
            return
        code, _, error = await run(["nft", "-f", "-"], table_text(TABLE, wanted))
        if code:
            raise InvalidInputError("groups", f"nftables refused them: {error}")

    async def held(self) -> dict[tuple[str, str], tuple[str, ...]]:
        """Return (port, group) -> ports that get a copy, as the kernel has it."""
        code, out, _ = await run(["nft", "-json", "list", "table", "netdev", TABLE])
        return table_copies(json.loads(out)) if code == 0 else {}

    async def probe(self) -> str:
        """Return ``ok``, or why such a table cannot be had."""
        port = self._bridge.ports[0]
        copies = {(port, PROBE_GROUP): (port, *self._bridge.ports[1:2])}
        text = table_text(PROBE_TABLE, copies) + table_text(PROBE_TABLE, {})
        code, _, error = await run(["nft", "-f", "-"], text)
        return "ok" if code == 0 else error or f"exit code {code}"
