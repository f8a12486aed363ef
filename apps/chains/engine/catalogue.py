"""Types of network functions that come with the product, each with its action profile and where that is from.

Service times are starting values for planning, to be replaced by calibration; ``provenance`` speaks of the profile.
"""

from dataclasses import dataclass
from typing import Final

from apps.chains.engine.chain import ServiceTime
from apps.chains.engine.fields import FIVE_TUPLE, Field
from apps.chains.engine.profiles import ActionProfile, Flag, StateScope


@dataclass(frozen=True, slots=True)
class NfType:
    """A type of network function.

    Args:
        slug: unique, e.g. ``load_balancer``.
        title, description: for operators.
        profile: what it does to packets and to its state.
        service: default service time.
        provenance: where the profile is from.
        implementation: which code runs it; empty: can be planned, but not run.
    """

    slug: str
    title: str
    description: str
    profile: ActionProfile
    service: ServiceTime
    provenance: str
    implementation: str = ""


_IPS: Final = frozenset({Field.IP_SRC, Field.IP_DST})
_PORTS: Final = frozenset({Field.SRC_PORT, Field.DST_PORT})
_PAYLOAD: Final = frozenset({Field.PAYLOAD})
_CONNECTION: Final = FIVE_TUPLE | {Field.TCP_FLAGS}
_INSPECTED: Final = _CONNECTION | {Field.TCP_SEQ} | _PAYLOAD
_NFP: Final = "NFP (SIGCOMM 2017), table of action profiles, with the protocol and TCP flags added"
_OURS: Final = "Declared by us from what our implementation does; checked while it runs"
_DESIGN: Final = "Declared by us from how such devices work; conservative"

_FIREWALL: Final = ActionProfile(reads=_CONNECTION, drops=True, drop_reads=_CONNECTION, state=StateScope.FLOW)
_IDS: Final = ActionProfile(reads=_INSPECTED, state=StateScope.FLOW)
_GATEWAY: Final = ActionProfile(reads=_IPS)

_TYPES: Final = (
    NfType(
        "firewall",
        "Firewall",
        "Lets packets pass or drops them by rules on addresses, ports and connection state.",
        _FIREWALL,
        ServiceTime(20.0, 0.5),
        _NFP,
        "firewall",
    ),
    NfType(
        "monitor",
        "Flow monitor",
        "Counts packets and bytes per flow (NetFlow); times are those of the classifier.",
        ActionProfile(reads=_CONNECTION, state=StateScope.FLOW),
        ServiceTime(15.0, 0.3),
        _NFP,
        "monitor",
    ),
    NfType(
        "ids",
        "Intrusion detection (passive)",
        "Searches payloads for signatures and reports; never drops.",
        _IDS,
        ServiceTime(60.0, 1.0),
        _NFP,
        "ids",
    ),
    NfType(
        "ips",
        "Intrusion prevention",
        "Searches payloads for signatures and drops what matches.",
        ActionProfile(reads=_INSPECTED, drops=True, drop_reads=_INSPECTED, state=StateScope.FLOW),
        ServiceTime(65.0, 1.0),
        _NFP,
        "ips",
    ),
    NfType(
        "load_balancer",
        "Load balancer",
        "Spreads connections over servers: rewrites source and destination addresses.",
        ActionProfile(
            reads=_CONNECTION, writes=_IPS, flags=frozenset({Flag.WRITES_CHECKSUM}), state=StateScope.FLOW
        ),
        ServiceTime(20.0, 0.5),
        _NFP,
        "load_balancer",
    ),
    NfType(
        "nat",
        "Network address translation",
        "Translates addresses and ports from a pool that all its flows share.",
        ActionProfile(
            reads=_CONNECTION,
            writes=_IPS | _PORTS,
            drops=True,
            drop_reads=_CONNECTION,
            flags=frozenset({Flag.WRITES_CHECKSUM}),
            state=StateScope.SHARED,
            shared_state="nat-pool",
        ),
        ServiceTime(25.0, 0.5),
        f"{_NFP}; drops when the pool is exhausted",
        "nat",
    ),
    NfType(
        "vpn",
        "VPN (payload cipher)",
        "Encrypts payloads and adds an authentication header.",
        ActionProfile(
            reads=_IPS | _PAYLOAD | {Field.IP_ID},
            writes=_PAYLOAD,
            adds_header=True,
            flags=frozenset({Flag.LEN_CHANGE, Flag.WRITES_CHECKSUM}),
            state=StateScope.SHARED,
        ),
        ServiceTime(80.0, 0.5),
        f"{_NFP}; the nonce also takes the IP identification",
        "vpn",
    ),
    NfType(
        "url_filter",
        "URL filter",
        "Drops requests for listed host names and paths.",
        ActionProfile(
            reads=_CONNECTION | _PAYLOAD,
            drops=True,
            drop_reads=_CONNECTION | _PAYLOAD,
            state=StateScope.FLOW,
        ),
        ServiceTime(30.0, 1.0),
        _OURS,
        "url_filter",
    ),
    NfType(
        "rate_limiter",
        "Rate limiter",
        "Drops what exceeds a rate, measured on the classifier's clock.",
        ActionProfile(reads=FIVE_TUPLE, drops=True, drop_reads=FIVE_TUPLE, state=StateScope.SHARED),
        ServiceTime(10.0, 0.2),
        _OURS,
        "rate_limiter",
    ),
    NfType(
        "header_enrichment",
        "Header enrichment (DSCP)",
        "Marks packets that match with a DSCP; reads the mark too, as what does not match keeps its own.",
        ActionProfile(
            reads=FIVE_TUPLE | {Field.IP_TOS},
            writes=frozenset({Field.IP_TOS}),
            flags=frozenset({Flag.WRITES_CHECKSUM}),
        ),
        ServiceTime(12.0, 0.3),
        _OURS,
        "header_enrichment",
    ),
    NfType(
        "dpi",
        "Deep packet inspection",
        "Classifies flows by their payload; passive.",
        _IDS,
        ServiceTime(50.0, 1.0),
        _OURS,
        "dpi",
    ),
    NfType(
        "waiter",
        "Waiter (for tests)",
        "Waits for a fixed time and looks at nothing, like a lookup on another machine.",
        ActionProfile(),
        ServiceTime(1000.0, 0.0, is_waiting=True),
        _OURS,
        "waiter",
    ),
    NfType(
        "nftables",
        "nftables firewall (foreign)",
        "The kernel's own firewall behind an identity proxy, with a rule set of yours for its bridge.",
        ActionProfile(
            reads=frozenset(Field), drops=True, drop_reads=frozenset(Field), state=StateScope.SHARED
        ),
        ServiceTime(25.0, 0.5),
        "Declared by us: rules that do anything else are refused on the server. Which header fields they read is left "
        "open; payload, as nft compares a packet's size with its header",
        "nftables",
    ),
    NfType(
        "ngrep",
        "Payload search with ngrep (foreign)",
        "Debian's ngrep behind an identity proxy: finds a regular expression in payloads; never drops.",
        ActionProfile(reads=_CONNECTION | _PAYLOAD, state=StateScope.SHARED),
        ServiceTime(26.0, 0.5),
        "Declared by us: it listens beside the packets' way, so it can change none",
        "ngrep",
    ),
    NfType(
        "media_gateway",
        "Media gateway",
        "Relays media by address.",
        _GATEWAY,
        ServiceTime(20.0, 0.5),
        _NFP,
    ),
    NfType("gateway", "Gateway", "Forwards by address.", _GATEWAY, ServiceTime(10.0, 0.3), _NFP),
    NfType(
        "cache",
        "Cache",
        "Answers requests itself where it can.",
        ActionProfile(
            reads=frozenset({Field.IP_DST, Field.DST_PORT}) | _PAYLOAD,
            flags=frozenset({Flag.TERMINATES, Flag.GENERATES}),
            state=StateScope.SHARED,
        ),
        ServiceTime(40.0, 1.0),
        f"{_NFP}; a barrier, as it answers by itself",
    ),
    NfType(
        "proxy",
        "Proxy",
        "Ends connections and opens its own.",
        ActionProfile(
            reads=_IPS | _PAYLOAD,
            writes=_IPS,
            flags=frozenset({Flag.TERMINATES, Flag.GENERATES, Flag.WRITES_CHECKSUM}),
            state=StateScope.FLOW,
        ),
        ServiceTime(70.0, 1.0),
        _NFP,
    ),
    NfType(
        "compression",
        "Compression (WAN optimiser)",
        "Compresses streams of payloads.",
        ActionProfile(
            reads=_PAYLOAD,
            writes=_PAYLOAD,
            flags=frozenset({Flag.BUFFERS, Flag.LEN_CHANGE, Flag.WRITES_CHECKSUM}),
            state=StateScope.FLOW,
        ),
        ServiceTime(90.0, 1.0),
        _NFP,
    ),
    NfType(
        "tcp_optimiser",
        "TCP optimiser",
        "Splits TCP connections, acknowledges early and sends again by itself.",
        ActionProfile(
            reads=_INSPECTED | {Field.TCP_ACK, Field.TCP_WINDOW},
            writes=frozenset({Field.TCP_SEQ, Field.TCP_ACK, Field.TCP_WINDOW}),
            flags=frozenset({Flag.TERMINATES, Flag.GENERATES, Flag.WRITES_CHECKSUM}),
            state=StateScope.FLOW,
        ),
        ServiceTime(30.0, 1.0),
        _DESIGN,
    ),
    NfType(
        "shaper",
        "Traffic shaper",
        "Delays packets to a rate; drops when its queue is full.",
        ActionProfile(drops=True, flags=frozenset({Flag.DELAYS}), state=StateScope.SHARED),
        ServiceTime(10.0, 1.0, is_waiting=True),
        _DESIGN,
    ),
    NfType(
        "rate_ids",
        "Rate-sensitive intrusion detection",
        "Detects scans and floods by the rate at which packets arrive.",
        ActionProfile(reads=_CONNECTION, flags=frozenset({Flag.TIME_DEPENDENT}), state=StateScope.FLOW),
        ServiceTime(30.0, 1.0),
        _DESIGN,
    ),
)

CATALOGUE: Final[dict[str, NfType]] = {entry.slug: entry for entry in _TYPES}
