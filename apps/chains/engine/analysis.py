"""Which network functions of a chain may run side by side, and why the others may not.

Order rules, A before B. *ok*: both work on one buffer; *copy*: one of them gets its own, headers only where the
other alone needs the payload; *no*: A must have finished.

    A \\ B       | read          | write          | add/remove      | drop
    read         | ok            | copy, same fld | copy            | ok
    write        | no, same fld  | copy, same fld | copy *          | ok if the drop test reads no field that A writes
    add/remove   | no            | no             | no              | ok
    drop         | no            | no             | no              | no

    * no where B also writes the field: a header in front moves it, and the merge could not tell which one A meant.

A network function that drops goes first as a barrier: outputs would agree, but whoever runs beside it would see packets
that it should not, and remember them. Two ways relax that rule alone: ``output_only`` asks about outputs, and
``is_state_advisory`` is the operator's word that B's state may differ. Both still say *no* where B remembers and acts
(writes, drops, changes headers), since then other memory means other outputs.

What a profile must declare for this to be true:

- A write that does not happen to every packet (a rule may not match) reads the field as well: what is left is
  the value that came in. Else the merge would take an untouched original for the last word.
- Whoever looks at a packet's length reads at least one field, so that nothing that changes lengths goes
  beside it.
- ``ttl_dec`` is one decrement of the TTL. Decrements commute, so the merge adds them up; against whoever
  reads or writes the TTL in other ways the order stays.

Why pairs are enough for branches that are chains themselves. Call the pairs that the graph orders *ordered*;
every one of them keeps the order of the chain. Let j be a network function. (1) A packet reaches j exactly if
no k < j dropped it: a k that drops and runs beside j would be a pair with *no*, and who comes after j has a
greater index. (2) Each field that j reads has the value of the sequential chain: every k < j that writes it
is ordered before j (write-read is *no*), and of those the greatest index is the last: in a series because it
comes last, at a merge because the merge takes the last writer in chain order over all branches. (3)
Structure: whoever changes it and comes before j is ordered before j if j touches anything, and a block has
one such branch at most, which is the base of the merge. By (1) to (3) and induction over j every network
function sees what it would see in the sequential chain, in the same order, since all hops keep order; so its
state and its writes are equal, and by (2) with "who reads the output" as j, so is the output.

Source: the brief's order rules, after NFP (SIGCOMM 2017), section 4. Deviation: the starred cell, the TTL rule and the
limits of advisory state are ours.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from apps.chains.engine.chain import Chain
from apps.chains.engine.fields import Field
from apps.chains.engine.hybrid import Verdict, VerdictKind
from apps.chains.engine.profiles import REFUSING_FLAGS, ActionProfile, Flag, StateScope

_TTL: Final = frozenset({Field.IP_TTL})
_NONE: Final[frozenset[Field]] = frozenset()

FIELD_WORDS: Final[dict[Field, str]] = {
    Field.ETH_DST: "destination MAC address",
    Field.ETH_SRC: "source MAC address",
    Field.VLAN: "VLAN tag",
    Field.IP_SRC: "source address",
    Field.IP_DST: "destination address",
    Field.IP_PROTO: "protocol",
    Field.IP_TTL: "TTL",
    Field.IP_TOS: "DSCP/TOS byte",
    Field.IP_ID: "IP identification",
    Field.FLOW_LABEL: "flow label",
    Field.SRC_PORT: "source port",
    Field.DST_PORT: "destination port",
    Field.TCP_SEQ: "TCP sequence number",
    Field.TCP_ACK: "TCP acknowledgement number",
    Field.TCP_FLAGS: "TCP flags",
    Field.TCP_WINDOW: "TCP window",
    Field.PAYLOAD: "payload",
}

FLAG_WORDS: Final[dict[Flag, str]] = {
    Flag.TERMINATES: "ends connections and opens its own: what leaves it are not the packets that came in",
    Flag.GENERATES: "makes packets of its own, and no other branch would have them",
    Flag.BUFFERS: "holds packets back and joins them, so packets do not come out one for one",
    Flag.DELAYS: "delays packets: whoever comes after it must see the delayed times",
    Flag.TIME_DEPENDENT: "acts on when packets arrive, and beside others they would arrive at other times",
    Flag.RANDOM: "acts at random: two runs cannot be shown to be equal",
    Flag.NOT_FIFO: "may reorder packets, and a merge relies on their order",
    Flag.L2_REWRITE: "rewrites link addresses, which every hop between servers changes as well",
}


def reads_of(profile: ActionProfile) -> frozenset[Field]:
    """Return every field whose value matters: those read and those that a decision to drop depends on."""
    return profile.reads | (profile.drop_reads if profile.drops else _NONE)


def writes_of(profile: ActionProfile) -> frozenset[Field]:
    """Return the fields that get a new value; a TTL that is only decremented is none of them."""
    return profile.writes - _TTL if decrements_ttl(profile) else profile.writes


def decrements_ttl(profile: ActionProfile) -> bool:
    """Whether it takes one off the TTL."""
    return Flag.TTL_DEC in profile.flags


def field_words(fields: Iterable[Field]) -> str:
    """Return fields as a phrase, in the order of the packet.

    >>> field_words([Field.DST_PORT, Field.IP_SRC, Field.IP_DST])
    'source address, destination address and destination port'
    """
    chosen = set(fields)
    words = [FIELD_WORDS[field] for field in Field if field in chosen]
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


@dataclass(frozen=True, slots=True)
class _Pair:
    first: ActionProfile
    second: ActionProfile
    a: str
    b: str
    is_state_advisory: bool
    output_only: bool

    def no(self, rule: str, reason: str, fields: frozenset[Field] = _NONE) -> Verdict:
        return Verdict(VerdictKind.NO, rule, fields, _sentence(reason))

    def copy(self, rule: str, reason: str, fields: frozenset[Field] = _NONE) -> Verdict:
        """Answer that both may run side by side, one of them on a copy: headers only if one of them can do with it."""
        if self.first.needs_payload and self.second.needs_payload:
            kind, means = VerdictKind.COPY_FULL, "a full copy"
        else:
            kind, means = VerdictKind.COPY_HEADER, "a copy of the headers"
        return Verdict(
            kind, rule, fields, _sentence(f"{reason}; with {means} for one of them both can run at once")
        )

    def is_advice_enough(self) -> bool:
        """Whether letting the second see more packets than it should leaves the output as it is."""
        second = self.second
        acts = bool(second.writes) or second.drops or second.changes_structure or decrements_ttl(second)
        if second.shared_state:
            # Even if it does not act on what it puts there, whoever shares it may.
            return False
        return second.state == StateScope.NONE or not acts


def _sentence(text: str) -> str:
    """End with a full stop; a name at the start keeps its letters."""
    return (text.replace("the ", "The ", 1) if text.startswith("the ") else text) + "."


def _flags(pair: _Pair) -> Verdict | None:
    for profile, name in ((pair.first, pair.a), (pair.second, pair.b)):
        for flag in Flag:
            if flag in profile.flags and flag in REFUSING_FLAGS:
                return pair.no(f"flag_{flag.value}", f"{name} {FLAG_WORDS[flag]}")
    return None


def _shared_state(pair: _Pair) -> Verdict | None:
    name = pair.first.shared_state
    if not name or name != pair.second.shared_state:
        return None
    return pair.no("shared_state", f'{pair.a} and {pair.b} share "{name}", and who comes first matters to it')


def _drop_first(pair: _Pair) -> Verdict | None:
    if not pair.first.drops:
        return None
    if not (pair.output_only or pair.is_state_advisory):
        reason = f"{pair.a} may drop packets, and {pair.b} would see and count packets that it must never get"
        return pair.no("drop_state", reason)
    if not pair.is_advice_enough():
        reason = f"{pair.a} may drop packets, and {pair.b} remembers them and acts on it, so its output would change"
        return pair.no("drop_state_output", reason)
    return None


def _structure_first(pair: _Pair) -> Verdict | None:
    fields = reads_of(pair.second) | pair.second.writes
    if not pair.first.changes_structure:
        return None
    does = "adds or removes headers or bytes"
    if pair.second.changes_structure:
        return pair.no("structure_structure", f"{pair.a} and {pair.b} both {does.replace('s ', ' ', 2)}")
    if fields or decrements_ttl(pair.second):
        fields = fields or _TTL
        reason = f"{pair.a} {does}, and {pair.b} works on the {field_words(fields)} of what comes out"
        return pair.no("structure_first", reason, fields)
    return None


def _ttl(pair: _Pair) -> Verdict | None:
    first, second = decrements_ttl(pair.first), decrements_ttl(pair.second)
    if first and Field.IP_TTL in reads_of(pair.second):
        return pair.no("ttl_read", f"{pair.a} decrements the TTL that {pair.b} reads", _TTL)
    if (first and Field.IP_TTL in writes_of(pair.second)) or (
        second and Field.IP_TTL in writes_of(pair.first)
    ):
        reason = (
            f"one of {pair.a} and {pair.b} sets the TTL and the other decrements it, so the order decides"
        )
        return pair.no("ttl_write", reason, _TTL)
    return None


def _write_read(pair: _Pair) -> Verdict | None:
    fields = writes_of(pair.first) & reads_of(pair.second)
    if not fields:
        return None
    return pair.no("write_read", f"{pair.a} rewrites the {field_words(fields)} that {pair.b} reads", fields)


def _write_moved(pair: _Pair) -> Verdict | None:
    fields = writes_of(pair.first) & writes_of(pair.second)
    if not fields or not pair.second.changes_structure:
        return None
    reason = f"{pair.a} rewrites the {field_words(fields)}, and {pair.b} puts another header's in that place"
    return pair.no("write_moved", reason, fields)


def _write_write(pair: _Pair) -> Verdict | None:
    fields = writes_of(pair.first) & writes_of(pair.second)
    if not fields:
        return None
    return pair.copy("write_write", f"{pair.a} and {pair.b} both write the {field_words(fields)}", fields)


def _read_write(pair: _Pair) -> Verdict | None:
    fields = reads_of(pair.first) & writes_of(pair.second)
    if decrements_ttl(pair.second):
        fields |= reads_of(pair.first) & _TTL
    if not fields:
        return None
    return pair.copy(
        "read_write", f"{pair.b} rewrites the {field_words(fields)} that {pair.a} must see before", fields
    )


def _ttl_both(pair: _Pair) -> Verdict | None:
    if not (decrements_ttl(pair.first) and decrements_ttl(pair.second)):
        return None
    return pair.copy(
        "ttl_both", f"{pair.a} and {pair.b} both decrement the TTL, and the merge adds that up", _TTL
    )


def _structure_second(pair: _Pair) -> Verdict | None:
    if not pair.second.changes_structure:
        return None
    fields = reads_of(pair.first) | pair.first.writes
    if fields or decrements_ttl(pair.first):
        fields = fields or _TTL
        reason = f"{pair.b} adds or removes headers or bytes, and {pair.a} needs the packet as it was before"
        return pair.copy("touch_structure", reason, fields)
    return None


def _independent(pair: _Pair) -> Verdict:
    if pair.first.drops:
        reason = f"{pair.a} may drop packets that {pair.b} sees: its state is advisory, or only output counts"
        return Verdict(VerdictKind.OK, "drop_advisory", _NONE, _sentence(reason))
    reason = f"neither of {pair.a} and {pair.b} writes what the other one uses"
    return Verdict(VerdictKind.OK, "independent", _NONE, _sentence(reason))


# The first rule that applies decides; refusals come before copies.
_RULES: Final[tuple[Callable[[_Pair], Verdict | None], ...]] = (
    _flags,
    _shared_state,
    _drop_first,
    _structure_first,
    _ttl,
    _write_read,
    _write_moved,
    _write_write,
    _read_write,
    _ttl_both,
    _structure_second,
)


def pair_verdict(
    first: ActionProfile,
    second: ActionProfile,
    *,
    is_state_advisory: bool = False,
    output_only: bool = False,
    first_name: str = "the first",
    second_name: str = "the second",
) -> Verdict:
    """Return whether two network functions, in this order in their chain, may run side by side.

    Args:
        first, second: what they do.
        is_state_advisory: the operator lets the state of ``second`` differ from the sequential chain's.
        output_only: ask about output packets alone, not about state.
        first_name, second_name: for the reason.

    Complexity: O(fields).

    >>> from apps.chains.engine.fields import FIVE_TUPLE
    >>> firewall = ActionProfile(reads=FIVE_TUPLE, drops=True, drop_reads=FIVE_TUPLE, state=StateScope.FLOW)
    >>> monitor = ActionProfile(reads=FIVE_TUPLE, state=StateScope.FLOW)
    >>> pair_verdict(monitor, firewall).kind.value, pair_verdict(firewall, monitor).rule
    ('ok', 'drop_state')
    """
    pair = _Pair(first, second, first_name, second_name, is_state_advisory, output_only)
    for rule in _RULES:
        verdict = rule(pair)
        if verdict is not None:
            return verdict
    return _independent(pair)


def analyse(chain: Chain) -> tuple[tuple[Verdict | None, ...], ...]:
    """Return the verdict of every pair; row i, column j holds the pair's with i < j, all else is ``None``.

    Complexity: O(n^2).
    """
    nfs = chain.nfs
    return tuple(
        tuple(
            pair_verdict(
                first.profile,
                second.profile,
                is_state_advisory=second.is_state_advisory,
                first_name=first.name,
                second_name=second.name,
            )
            if i < j
            else None
            for j, second in enumerate(nfs)
        )
        for i, first in enumerate(nfs)
    )
