"""Executes operator tables on one device: what comes in by frame or from a network function goes on to what is next.

A pure dispatcher: frames leave through ``send``, released packets through ``deliver``; it knows no socket.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final

from apps.chains.agent.local_blocks import Join, local_merge
from apps.chains.agent.specs import PathSpec
from apps.chains.agent.worker_link import DROPPED_HERE, Item, WorkerLink
from apps.chains.engine.hybrid import Copy
from apps.chains.engine.merging import Merger, Released
from apps.chains.engine.operators import Hop, Operator, OperatorKind
from apps.chains.engine.packet import UnreadPacket, parse
from apps.chains.engine.shim import DROPPED_BY_UNKNOWN, Malformed, Shim, ShimFlag, shim_decode, shim_encode

Send = Callable[[bytes], None]
Emit = Callable[[str, dict[str, object]], None]
# Of each second's packets, that many are measured.
LATENCIES_MAX: Final = 2000
# Plain numbers: arithmetic on enum members is ten times slower, and this runs per packet.
NIL: Final = int(ShimFlag.NIL)
HEADER: Final = int(ShimFlag.HEADER_ONLY)
TRACED: Final = int(ShimFlag.TRACED)
# So is looking a member up by its name.
NF, MIRROR, MERGE = OperatorKind.NF, OperatorKind.MIRROR, OperatorKind.MERGE
SHARED, HEADER_COPY = Copy.SHARED, Copy.HEADER


class PathRun:
    """One epoch of one path on this device, with its merges and counters."""

    def __init__(self, spec: PathSpec) -> None:
        self.spec = spec
        self.by_id = spec.table.by_id
        self.counters: dict[int, Counter[str]] = {operator.id: Counter() for operator in spec.table.operators}
        self.latencies_us: dict[int, list[float]] = {operator.id: [] for operator in spec.table.operators}
        # Of merges: from the first branch to the last.
        self.waits_us: dict[int, list[float]] = {operator.id: [] for operator in spec.table.operators}
        self.mergers: dict[int, Merger] = {}
        # Mirror -> merge of a block that lies on this server altogether, see ``local_blocks``.
        self.blocks: dict[int, Operator | None] = {}

    def merger(self, operator: Operator) -> Merger:
        """Return the merge of an operator on this device."""
        merger = self.mergers.get(operator.id)
        if merger is None:
            assert operator.merge is not None
            merger = Merger(operator.merge, timeout_us=self.spec.timeout_us, is_checked=self.spec.is_checked)
            self.mergers[operator.id] = merger
        return merger


class Plane:
    """What one device does.

    Args:
        name: this device in operator tables.
        send: puts a frame on the fabric.
        deliver: takes what comes out of a path (at the classifier only).
        emit: tells the portal: event and data.
    """

    def __init__(self, name: str, send: Send, deliver: Callable[[Item], None], emit: Emit) -> None:
        self.name = name
        self.own_mac = bytes(6)
        self.runs: dict[tuple[int, int], PathRun] = {}
        self.links: dict[tuple[int, int, int], WorkerLink] = {}
        self.counters: Counter[str] = Counter()
        self._send = send
        self._deliver = deliver
        self._emit = emit
        self._traced_merges: set[tuple[int, int, int]] = set()

    def install(self, paths: Iterable[PathSpec]) -> None:
        """Hold exactly these epochs; those that were there keep what they are doing."""
        wanted = {(path.path, path.epoch): path for path in paths}
        for key in self.runs.keys() - wanted.keys():
            del self.runs[key]
        for key, path in wanted.items():
            run = self.runs.get(key)
            if run is None:
                self.runs[key] = PathRun(path)
            elif run.spec != path:
                # Same epoch, other addresses or limits: the table of an epoch never changes.
                run.spec = path

    def arrive(self, frame: bytes, now_us: int) -> None:
        """Take a frame from the fabric."""
        decoded = shim_decode(frame, now_us)
        if isinstance(decoded, Malformed):
            self.counters[f"malformed_{decoded.kind}"] += 1
            return
        shim, body = decoded
        run = self.runs.get((shim.path, shim.epoch))
        if run is None:
            self.counters["unknown_path"] += 1
            return
        operator = run.by_id.get(shim.operator)
        if operator is None:
            self.counters["unknown_operator"] += 1
            return
        is_nil = shim.flags & NIL
        item = Item(
            run,
            shim.packet_id,
            shim.at_us,
            None if is_nil else body,
            is_header_only=bool(shim.flags & HEADER),
            dropped_by=body[0] if is_nil and body[0] != DROPPED_BY_UNKNOWN else -1,
            is_traced=bool(shim.flags & TRACED),
        )
        if operator.server == self.name:
            self.execute(run, operator, item, shim.branch)
        elif operator.kind is OperatorKind.MIRROR:
            # A group frame: the network copied it for all, each server takes the branches that start on it.
            self._mirror(run, operator, item)
        else:
            self.counters["not_mine"] += 1

    def forward(self, run: PathRun, hop: Hop, item: Item) -> None:
        """Hand an item to an operator, here or on the wire."""
        operator = run.by_id[hop.operator]
        if operator.server == self.name:
            self.execute(run, operator, item, hop.branch)
            return
        peer = run.spec.peers.get(operator.server)
        if peer is None:
            self.counters["unknown_peer"] += 1
            return
        self._put(run, peer, hop.operator, hop.branch, item)

    def _put(self, run: PathRun, mac: bytes, operator: int, branch: int, item: Item) -> None:
        flags = (NIL if item.data is None else 0) | (HEADER if item.is_header_only else 0)
        if item.is_traced:
            flags |= TRACED
        body = bytes((item.dropped_by & 0xFF,)) if item.data is None else item.data
        shim = Shim(run.spec.path, operator, run.spec.epoch, item.packet_id, item.at_us, branch, flags)
        self._send(shim_encode(mac, self.own_mac, shim, body))

    def execute(self, run: PathRun, operator: Operator, item: Item, branch: int) -> None:
        """Do what an operator of this device does."""
        kind = operator.kind
        run.counters[operator.id]["in"] += 1
        if kind is NF:
            self._enter_nf(run, operator, item)
        elif kind is MERGE:
            self._merge(run, operator, item, branch)
        elif kind is MIRROR:
            self._mirror(run, operator, item)
        else:
            self._deliver(item)

    def _enter_nf(self, run: PathRun, operator: Operator, item: Item) -> None:
        assert operator.nf_index is not None
        item.operator = operator.id
        item.entered_ns = time.monotonic_ns()
        link = self.links.get((run.spec.path, run.spec.epoch, operator.nf_index))
        if link is None:
            self.counters["no_instance"] += 1
            item.data, item.dropped_by = None, DROPPED_HERE
            self.leave_nf(item)
        else:
            link.submit(item)

    def leave_nf(self, item: Item) -> None:
        """Go on with an item that a network function has handled."""
        run = item.path
        assert isinstance(run, PathRun)
        operator = run.by_id[item.operator]
        counters = run.counters[operator.id]
        now_ns = time.monotonic_ns()
        if item.data is not None:
            counters["out"] += 1
            latencies = run.latencies_us[operator.id]
            if len(latencies) < LATENCIES_MAX:
                latencies.append((now_ns - item.entered_ns) / 1000)
        elif item.dropped_by == DROPPED_HERE:
            assert operator.nf_index is not None
            item.dropped_by = operator.nf_index
            counters["drop"] += 1
        if item.is_traced:
            self._trace(run, operator, item)
        hop, join = operator.next[0], item.join
        if isinstance(join, Join) and hop.operator == join.merge.id:
            item.entered_ns = now_ns
            join.items[hop.branch] = item
            join.left -= 1
            if not join.left:
                self._join(run, join)
        else:
            self.forward(run, hop, item)

    def _mirror(self, run: PathRun, operator: Operator, item: Item) -> None:
        """Give every branch its copy; bytes are never changed in place, so equal copies share them."""
        counters = run.counters[operator.id]
        hops = operator.next
        if operator.server != self.name:
            hops = tuple(hop for hop in hops if run.by_id[hop.operator].server == self.name)
        elif group := run.spec.groups.get(operator.id):
            self._put(run, group, operator.id, 0, item)
            hops = tuple(hop for hop in hops if run.by_id[hop.operator].server == self.name)
            counters["out"] += 1
        if item.is_traced:
            self._trace(run, operator, item)
        if operator.id not in run.blocks:
            run.blocks[operator.id] = local_merge(run.spec, self.name, self.links, operator)
        block = run.blocks[operator.id]
        join = Join(block, block.merge, item) if block is not None and block.merge is not None else None
        headers: bytes | None = None
        counters["out"] += len(hops)
        for hop in hops:
            copy = item.twin()
            copy.join = join
            if hop.copy is HEADER_COPY and item.data is not None and not item.is_header_only:
                if headers is None:
                    headers = bytes(parse(item.data).header_copy().data)
                copy.data, copy.is_header_only = headers, True
            if hop.copy is not SHARED:
                counters["copy"] += 1
            self.forward(run, hop, copy)

    def _join(self, run: PathRun, join: Join) -> None:
        """Merge a packet that all branches have answered."""
        merge, started_ns = join.merge, time.monotonic_ns()
        counters, merger = run.counters[merge.id], run.merger(merge)
        counters["in"] += len(join.items)
        base = join.alike()
        if base is None:
            if join.items[0].is_traced:
                self._traced_merges.add((id(run), merge.id, join.items[0].packet_id))
            if released := merger.decide(join.entries()):
                self._release(run, merge, released, started_ns)
        elif merger.decide_alike(base.packet_id):
            counters["out"] += 1
            if len(run.waits_us[merge.id]) < LATENCIES_MAX:
                first_ns = min(item.entered_ns for item in join.items)
                run.waits_us[merge.id].append((started_ns - first_ns) // 1000)
                run.latencies_us[merge.id].append((time.monotonic_ns() - started_ns) / 1000)
            base.join = None
            self.forward(run, merge.next[0], base)

    def _merge(self, run: PathRun, operator: Operator, item: Item, branch: int) -> None:
        packet = None if item.data is None else UnreadPacket(item.data, item.is_header_only)
        if item.is_traced:
            self._traced_merges.add((id(run), operator.id, item.packet_id))
        started_ns = time.monotonic_ns()
        merger = run.mergers.get(operator.id) or run.merger(operator)
        released = merger.push(
            branch,
            item.packet_id,
            packet,
            started_ns // 1000,
            at_us=item.at_us,
            dropped_by=item.dropped_by,
        )
        if released:
            self._release(run, operator, released, started_ns)

    def _release(self, run: PathRun, operator: Operator, released: list[Released], started_ns: int) -> None:
        took_us = (time.monotonic_ns() - started_ns) / 1000 / len(released)
        counters, latencies = run.counters[operator.id], run.latencies_us[operator.id]
        waits = run.waits_us[operator.id]
        for one in released:
            if one.packet is not None and len(waits) < LATENCIES_MAX:
                waits.append(one.waited_us)
            item = Item(
                run,
                one.packet_id,
                one.at_us,
                None if one.packet is None else bytes(one.packet.data),
                is_header_only=one.packet is not None and one.packet.is_header_only,
                dropped_by=one.dropped_by,
            )
            item.operator, item.entered_ns = operator.id, started_ns
            counters["out"] += item.data is not None
            if len(latencies) < LATENCIES_MAX:
                latencies.append(took_us)
            if self._traced_merges:
                self._trace_merged(run, operator, item)
            if one.conflict is not None:
                self._tell_conflict(run, operator, one)
            self.forward(run, operator.next[0], item)

    def _trace_merged(self, run: PathRun, operator: Operator, item: Item) -> None:
        key = (id(run), operator.id, item.packet_id)
        if key in self._traced_merges:
            self._traced_merges.discard(key)
            item.is_traced = True
            self._trace(run, operator, item)

    def _tell_conflict(self, run: PathRun, operator: Operator, one: Released) -> None:
        assert one.conflict is not None
        self._emit(
            "undeclared_write",
            {
                "path": run.spec.path,
                "epoch": run.spec.epoch,
                "chain": run.spec.chain,
                "operator": operator.id,
                "branches": list(one.conflict.suspects),
                "nf_indexes": sorted(_behind(run, operator.id, set(one.conflict.suspects))),
                "field": one.conflict.field.value,
                "packet_id": one.packet_id,
            },
        )

    def _trace(self, run: PathRun, operator: Operator, item: Item) -> None:
        entered_ns = item.entered_ns or time.monotonic_ns()
        self._emit(
            "trace_hop",
            {
                "path": run.spec.path,
                "packet_id": item.packet_id,
                "operator": operator.id,
                "kind": operator.kind.value,
                "nf_index": operator.nf_index,
                "server": self.name,
                "at_us": time.time_ns() // 1000,
                "took_us": round((time.monotonic_ns() - entered_ns) / 1000, 1),
                "fate": "dropped" if item.data is None else "passed",
            },
        )

    def tick(self, now_us: int) -> None:
        """Time out what waits for too long; ``now_us`` is the monotonic clock."""
        for run in list(self.runs.values()):
            for identity, merger in run.mergers.items():
                if released := merger.expire(now_us):
                    self._release(run, run.by_id[identity], released, now_us * 1000)


def _behind(run: PathRun, merge: int, branches: set[int]) -> set[int]:
    """Return the network functions that lead into these branches of a merge, back to where the block begins."""
    found: set[int] = set()
    wanted = {
        operator.id
        for operator in run.spec.table.operators
        for hop in operator.next
        if hop.operator == merge and hop.branch in branches
    }
    while wanted:
        identity = wanted.pop()
        operator = run.by_id[identity]
        if operator.nf_index is None:
            continue
        found.add(operator.nf_index)
        wanted |= {
            before.id
            for before in run.spec.table.operators
            if before.kind is OperatorKind.NF and any(hop.operator == identity for hop in before.next)
        }
    return found
