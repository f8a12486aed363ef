"""Load balancer: flows to a virtual address go to backends, replies come from the virtual address.

Parameters: ``vip``; ``port`` (0: any) and ``proto`` (any) that belong to it; ``backends``: list of
``{address, weight}`` (weight 1..100); ``flows_max`` (65536). A new flow goes to the backend with the highest weighted
hash, so that a changed list of backends moves few flows; known flows keep theirs.

Source: weighted rendezvous hashing, Schindelhauer and Schomaker (2005), the logarithmic method.
"""

import hashlib
import math
from collections import Counter
from collections.abc import Mapping

from apps.chains.engine.fields import Field
from apps.chains.engine.nfs.network_function import FLOWS_MAX, FlowTable, State, reverse_key
from apps.chains.engine.nfs.settings import Settings, flow_key, rows
from apps.chains.engine.packet import Packet

BACKENDS_MAX = 256


class LoadBalancer:
    """See the module. Attributes: ``counters``: ``forward, reply, other``."""

    def __init__(self, params: Mapping[str, object]) -> None:
        settings = Settings(params, "params", ("vip", "port", "proto", "backends", "flows_max"))
        version, self.vip = settings.address("vip")
        self.port = settings.integer("port", 0, 65535, 0)
        self.proto = settings.protocol("proto")
        self.backends: list[bytes] = []
        self.weights: list[int] = []
        for item in settings.objects("backends", BACKENDS_MAX, ("address", "weight"), 1):
            backend_version, address = item.address("address")
            if backend_version != version:
                item.refuse("address", f"must be an IPv{version} address like the vip")
            if address in self.backends or address == self.vip:
                item.refuse("address", "must differ from the vip and all other backends")
            self.backends.append(address)
            self.weights.append(item.integer("weight", 1, 100, 1))
        self.counters: Counter[str] = Counter()
        self.wait_us = 0
        self._known = frozenset(self.backends)
        self._vip_value = int.from_bytes(self.vip, "big")
        self._flows: FlowTable[bytes] = FlowTable(settings.integer("flows_max", 1, 1 << 20, FLOWS_MAX))

    def process(self, packet: Packet, at_us: int) -> bool:
        """Rewrite the destination of what goes to the virtual address, the source of what comes back."""
        key = packet.flow_key()
        size = len(self.vip)
        if len(key) != 2 * size + 5 or (self.proto is not None and key[-1] != self.proto):
            self.counters["other"] += 1
        elif key[size : 2 * size] == self.vip and self._is_port(key[-3:-1]):
            packet.set(Field.IP_DST, int.from_bytes(self._backend(key), "big"))
            self.counters["forward"] += 1
        elif key[:size] in self._known and self._is_port(key[-5:-3]) and self._is_reply(key):
            packet.set(Field.IP_SRC, self._vip_value)
            self.counters["reply"] += 1
        else:
            self.counters["other"] += 1
        return True

    def _is_port(self, port: bytes) -> bool:
        return self.port == 0 or int.from_bytes(port, "big") == self.port

    def _backend(self, key: bytes) -> bytes:
        backend = self._flows.touch(key)
        if backend is None:
            backend = self._choose(key)
            self._flows.put(key, backend)
        return backend

    def _choose(self, key: bytes) -> bytes:
        best, best_score = b"", -1.0
        for address, weight in zip(self.backends, self.weights, strict=True):
            digest = hashlib.blake2b(key + address, digest_size=6).digest()
            # In (0, 1): a score of weight / -ln(share) gives each backend flows in proportion to its weight.
            share = (int.from_bytes(digest, "big") + 0.5) / (1 << 48)
            score = -weight / math.log(share)
            if score > best_score:
                best, best_score = address, score
        return best

    def _is_reply(self, key: bytes) -> bool:
        """Whether the flow that this packet answers went to this backend; keeps that flow known."""
        back = reverse_key(key)
        size = len(self.vip)
        forward = back[:size] + self.vip + back[2 * size :]
        if self._flows.get(forward) != key[:size]:
            return False
        self._flows.move_to_end(forward)
        return True

    def state(self) -> State:
        """Return flows with their backends, the one used last at the end."""
        return {"flows": [[key.hex(), backend.hex()] for key, backend in self._flows.items()]}

    def restore(self, state: Mapping[str, object]) -> None:
        """Go on from ``state``."""
        settings = Settings(state, "state", ("flows",))
        flows: list[tuple[bytes, bytes]] = []
        for key, address in rows(settings, "flows", self._flows.size_max, 2):
            backend = next((one for one in self.backends if one.hex() == address), None)
            if backend is None:
                settings.refuse("flows", "must name backends of the parameters")
            flows.append((flow_key(settings, "flows", key), backend))
        self._flows.clear()
        for flow, backend in flows:
            self._flows.put(flow, backend)
