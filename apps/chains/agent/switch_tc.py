"""Driver ``tc_mirred``: a filter on each port's ingress sends a group's frames to the other members.

Works on clsact, cls_bpf with classic BPF (which an ordinary user's namespace may load as well) and act_mirred. The
actions of one filter follow each other, so the kernel's limit of four *nested* mirrors is never met. The last member
gets the original. A group's frames bypass the bridge, so it does not learn their senders.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from apps.chains.agent.switch_commands import Bridge, FilterPlaces, filters_of, run_batch
from apps.chains.engine.steering import PROBE_GROUP, port_copies
from nfvportal.lib.errors import InvalidInputError

# Filters of ours have places of their own from here on; foreign ones are left alone wherever they are.
PREF_FIRST: Final = 40_000
PREF_END: Final = 49_000
_LOAD_WORD, _LOAD_HALF, _JUMP_EQUAL, _RETURN = 32, 40, 21, 6
_MATCH, _SHOT, _MISS, _CONTINUE = 0xFFFF_FFFF, 2, 0, 0xFFFF_FFFF


@dataclass(frozen=True, slots=True)
class Filter:
    """A filter of ours: frames to ``group`` that enter by ``port`` leave by ``targets``; none means dropped."""

    port: str
    group: str
    targets: tuple[str, ...]
    pref: int = 0

    def command(self) -> str:
        """Return the arguments of ``tc`` that add it."""
        head = f"filter add dev {self.port} ingress protocol all pref {self.pref} bpf"
        if not self.targets:
            return f"{head} da bytecode {_bytecode(self.group, is_drop=True)}"
        mirrors = "".join(f" action mirred egress mirror dev {port} pipe" for port in self.targets[:-1])
        last = f" action mirred egress redirect dev {self.targets[-1]}"
        return f"{head} bytecode {_bytecode(self.group)}{mirrors}{last}"

    def removal(self) -> str:
        """Return the arguments of ``tc`` that remove it."""
        return f"filter del dev {self.port} ingress protocol all pref {self.pref}"


def _instructions(group: str, is_drop: bool) -> tuple[tuple[int, int, int, int], ...]:
    """Return classic BPF that takes frames to a group address."""
    mac = bytes.fromhex(group.replace(":", ""))
    yes, no = (_SHOT, _CONTINUE) if is_drop else (_MATCH, _MISS)
    return (
        (_LOAD_WORD, 0, 0, 0),
        (_JUMP_EQUAL, 0, 3, int.from_bytes(mac[:4])),
        (_LOAD_HALF, 0, 0, 4),
        (_JUMP_EQUAL, 0, 1, int.from_bytes(mac[4:])),
        (_RETURN, 0, 0, yes),
        (_RETURN, 0, 0, no),
    )


def _bytecode(group: str, is_drop: bool = False) -> str:
    rows = _instructions(group, is_drop)
    return ",".join([str(len(rows)), *(" ".join(map(str, row)) for row in rows)]).join("''")


def _ours(port: str, rows: list[dict[str, Any]]) -> Iterator[Filter]:
    """Yield the filters of ours among those that ``tc`` shows."""
    for row in rows:
        options = row.get("options", {})
        shown = options.get("bytecode", {}).get("insns", [])
        code = tuple((one["code"], one["jt"], one["jf"], one["k"]) for one in shown)
        if not PREF_FIRST <= row.get("pref", 0) < PREF_END or len(code) != 6:
            continue
        group = (code[1][3].to_bytes(4) + (code[3][3] & 0xFFFF).to_bytes(2)).hex(":")
        if code == _instructions(group, is_drop="direct-action" in options):
            targets = tuple(action["to_dev"] for action in options.get("actions", []))
            yield Filter(port, group, targets, row["pref"])


class TcMirred:
    """Filters of traffic control."""

    name = "tc_mirred"

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge
        self._places = FilterPlaces()

    async def apply(self, groups: Mapping[str, frozenset[str]]) -> None:
        """Add what is missing, then remove what is too much: of two filters for a group the first one decides.

        Raises:
            InvalidInputError: the kernel refused a filter.
        """
        wanted = port_copies(groups, self._bridge.ports)
        taken: dict[str, set[int]] = {}
        surplus: list[Filter] = []
        missing = dict(wanted)
        for port in self._bridge.ports:
            rows = await filters_of(port)
            taken[port] = {row.get("pref", 0) for row in rows}
            for one in _ours(port, rows):
                if missing.get((port, one.group)) == one.targets:
                    del missing[port, one.group]
                else:
                    surplus.append(one)
        for port in dict.fromkeys(port for port, _ in missing):
            await self._places.ensure(port)
        added = list(_placed(missing, taken))
        index, error = await run_batch(
            "tc", [*(one.command() for one in added), *(one.removal() for one in surplus)]
        )
        if error and index < len(added):
            refused = added[index]
            at = f"groups.{refused.group}"
            raise InvalidInputError(at, f"traffic control refused it on port {refused.port}: {error}")
        if not wanted:
            await self._places.leave()

    async def held(self) -> dict[tuple[str, str], tuple[str, ...]]:
        """Return (port, group) -> ports that get a copy, as the kernel has it."""
        return {
            (port, one.group): one.targets
            for port in self._bridge.ports
            for one in _ours(port, await filters_of(port))
        }

    async def probe(self) -> str:
        """Return ``ok``, or why the kernel does not take such filters."""
        port = self._bridge.ports[0]
        targets = (port, *self._bridge.ports[1:2])
        await self._places.ensure(port)
        one = Filter(port, PROBE_GROUP, targets, PREF_END)
        _, error = await run_batch("tc", [one.command(), one.removal()])
        await self._places.leave()
        return error or "ok"


def _placed(
    missing: Mapping[tuple[str, str], tuple[str, ...]], taken: dict[str, set[int]]
) -> Iterator[Filter]:
    """Yield the filters that are missing, each at a place of its port that nobody has."""
    for (port, group), targets in missing.items():
        pref = next(pref for pref in range(PREF_FIRST, PREF_END) if pref not in taken[port])
        taken[port].add(pref)
        yield Filter(port, group, targets, pref)
