"""Rivals at the rarest host that two subflows share, against plain sets."""

import random

from apps.mptcp.engine.associator import Associator
from apps.mptcp.engine.crowd import Crowd
from apps.mptcp.engine.domain import Domain
from tests.support.mptcp_wire import Wire


def twin(domain: Domain, members: list[int], others: list[int]) -> float:
    """Count the connections at each host one by one."""
    table, name = domain.table, domain.hosts.name
    at: dict[tuple[int, int], set[int]] = {}
    for row in range(table.used):
        for end in table.ends(row):
            at.setdefault(name(end), set()).add(int(domain.groups.label[row]))
    mine, theirs = ({name(end) for row in rows for end in table.ends(row)} for rows in (members, others))
    everyone = len(set(domain.groups.label[: table.used].tolist()))
    return float(min((len(at[host]) for host in mine & theirs), default=everyone))


def test_rivals_are_those_at_the_rarest_shared_host() -> None:
    rng = random.Random(7)
    wire = Wire()
    for port in range(60):
        client, server = f"10.0.0.{rng.randrange(12)}", f"10.1.0.{rng.randrange(4)}"
        wire.data((client, 1000 + port, server, 443), 0, rng.getrandbits(64))
    domain = wire.run(Associator()).domain
    for _ in range(4):
        ends = [end for row in rng.sample(range(60), 2) for end in domain.table.ends(row)]
        domain.hosts.alias(ends[0], ends[2])
    for _ in range(10):
        i, j = rng.sample(range(60), 2)
        domain.groups.unite(i, j, 0)
    crowd = Crowd(domain)
    for i in range(60):
        for j in range(60):
            members, others = domain.groups.members(i), domain.groups.members(j)
            assert crowd.rivals(members, others) == twin(domain, members, others)
