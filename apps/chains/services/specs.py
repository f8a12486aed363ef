"""Desired states of classifier, servers and switch, made from the deployments that are installed and active.

A spec says everything a device shall hold, so pushing twice changes nothing, and whoever pushes last is right: the
advisory lock makes sure that who pushes later has read later.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import Any, Final

from django.db import connection, transaction
from django.db.models import Q

from apps.chains.engine.analysis import decrements_ttl
from apps.chains.engine.compile import CLASSIFIER, compile_plan
from apps.chains.engine.fields import Field
from apps.chains.engine.operators import OperatorKind, OperatorTable, operator_table_to_json
from apps.chains.engine.profiles import ActionProfile
from apps.chains.engine.steering import Group, groups_of, switch_groups
from apps.chains.mapping import planned_chain, planned_root
from apps.chains.models import Chain, Deployment, NfType
from nfvportal.inventory.models import Device, Interface, Link
from nfvportal.inventory.services import desired_state_set
from nfvportal.lib.errors import InvalidInputError

CLASSIFIER_ROLE: Final = "chains.classifier"
SERVER_ROLE: Final = "chains.server"
SWITCH_ROLE: Final = "chains.switch"
FABRIC: Final = "fabric"
INGRESS, EGRESS = "ingress", "egress"
# Far above what a busy server needs: it only ends the wait for what was lost.
TIMEOUT_US: Final = 1_000_000
_PUSH_LOCK: Final = 0x636861696E73  # "chains"


@dataclass(frozen=True, slots=True)
class Fabric:
    """The devices that can carry chains.

    Args:
        macs: name in operator tables -> address on the fabric.
        ports: name in operator tables -> port of the switch; empty unless there is exactly one switch.
    """

    classifier: Device
    servers: dict[str, Device]
    switches: tuple[Device, ...]
    macs: dict[str, str]
    ports: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Installed:
    """One deployment as devices need it."""

    chain: Chain
    deployment: Deployment
    table: OperatorTable
    names: tuple[str, ...]
    nfs: tuple[dict[str, Any], ...]

    @property
    def servers(self) -> set[str]:
        """Names of the servers that take part."""
        return servers_of(self.table)


def servers_of(table: OperatorTable) -> set[str]:
    """Return the servers of an operator table, without the classifier."""
    return {operator.server for operator in table.operators} - {CLASSIFIER}


def fabric_find() -> Fabric:
    """Return the devices that can carry chains.

    Raises:
        InvalidInputError: there is no classifier.
    """
    devices = Device.objects.order_by("name")
    classifier = devices.filter(roles__contains=[CLASSIFIER_ROLE]).first()
    if classifier is None:
        raise InvalidInputError("", f"no device has the role {CLASSIFIER_ROLE}")
    servers = {device.name: device for device in devices.filter(roles__contains=[SERVER_ROLE])}
    macs = {}
    for row in Interface.objects.filter(
        name=FABRIC, device__in=[classifier, *servers.values()]
    ).select_related("device"):
        macs[CLASSIFIER if row.device_id == classifier.pk else row.device.name] = row.mac
    switches = tuple(devices.filter(roles__contains=[SWITCH_ROLE]))
    ports = _ports(switches[0], classifier) if len(switches) == 1 else {}
    return Fabric(classifier, servers, switches, macs, ports)


def _ports(switch: Device, classifier: Device) -> dict[str, str]:
    """Return the switch's port towards each device of the fabric, by the inventory's links."""
    found = {}
    links = Link.objects.filter(Q(a__device=switch) | Q(b__device=switch))
    for link in links.select_related("a__device", "b__device"):
        port, end = (link.a, link.b) if link.a.device_id == switch.pk else (link.b, link.a)
        if end.name == FABRIC:
            found[CLASSIFIER if end.device_id == classifier.pk else end.device.name] = port.name
    return found


def specs_push() -> None:
    """Give every device what it shall hold now. Call it in the transaction that changed deployments."""
    with transaction.atomic():
        push_lock()
        fabric = fabric_find()
        rows = installed_list()
        for name, device in fabric.servers.items():
            _set(device, SERVER_ROLE, server_spec(name, rows, fabric))
        for device in fabric.switches:
            _set(device, SWITCH_ROLE, switch_spec(rows, fabric))
        _set(fabric.classifier, CLASSIFIER_ROLE, classifier_spec(rows, fabric))


def push_lock() -> None:
    """Wait until nobody else gives out paths or specs; held until the transaction ends. Lock the chain's row before."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_PUSH_LOCK])


def _set(device: Device, role: str, spec: dict[str, Any]) -> None:
    desired_state_set(device=device, role=role, spec=spec)


def installed_list() -> list[Installed]:
    """Return the deployments that devices hold, by path and epoch."""
    rows = (
        Deployment.objects.filter(is_installed=True)
        .select_related("chain", "plan")
        .order_by("chain__path", "epoch")
    )
    types = dict(NfType.objects.values_list("slug", "implementation"))
    return [_installed(row, types) for row in rows]


def _installed(row: Deployment, types: dict[str, str]) -> Installed:
    chain = planned_chain(row.plan)
    table = compile_plan(chain, planned_root(row.plan))
    nfs = tuple(
        {"type": types.get(nf.type, ""), "params": dict(nf.params), "writes": writes_checked(nf.profile)}
        for nf in chain.nfs
    )
    return Installed(row.chain, row, table, tuple(nf.name for nf in chain.nfs), nfs)


def server_spec(name: str, rows: Sequence[Installed], fabric: Fabric) -> dict[str, Any]:
    """Return the spec of ``chains.server`` for one server.

    A network function is one process for all epochs in which its settings are the same, and keeps its state; with other
    settings it is another row, and the old process serves the old epoch to its end.
    """
    here = [row for row in rows if name in row.servers]
    processes: dict[tuple[str, str, str], dict[str, Any]] = {}
    for row in here:
        for operator in row.table.operators:
            if operator.kind == OperatorKind.NF and operator.server == name:
                assert operator.nf_index is not None
                nf = _nf_spec(row, operator.nf_index)
                key = (nf["instance"], nf["type"], json.dumps(nf["params"], sort_keys=True))
                indexes = {
                    **(processes[key]["indexes"] if key in processes else {}),
                    str(row.deployment.epoch): operator.nf_index,
                }
                processes[key] = {**nf, "indexes": indexes}
    return {
        "fabric": FABRIC,
        "paths": [path_spec(row, fabric) for row in here],
        "nfs": [processes[key] for key in sorted(processes)],
    }


def _nf_spec(row: Installed, index: int) -> dict[str, Any]:
    return {"instance": f"{row.chain.name}/{row.names[index]}", **row.nfs[index], "path": row.chain.path}


def writes_checked(profile: ActionProfile) -> list[str] | None:
    """Return what a network function may write, ``None`` where headers come or go: there nothing can be compared."""
    if profile.changes_structure:
        return None
    may = profile.writes | ({Field.IP_TTL} if decrements_ttl(profile) else set())
    return [field.value for field in Field if field in may]


def path_spec(row: Installed, fabric: Fabric) -> dict[str, Any]:
    """Return one epoch of one path, with the addresses of everybody who takes part."""
    table = operator_table_to_json(row.table)
    return {
        "path": row.chain.path,
        "epoch": row.deployment.epoch,
        "chain": row.chain.name,
        "operators": table["operators"],
        "first": table["first"],
        "peers": {
            name: fabric.macs[name] for name in sorted({*row.servers, CLASSIFIER}) if fabric.macs.get(name)
        },
        "groups": {str(group.operator): group.mac for group in _groups(row, fabric)},
        "timeout_us": TIMEOUT_US,
        "is_checked": True,
    }


def classifier_spec(rows: Sequence[Installed], fabric: Fabric) -> dict[str, Any]:
    """Return the spec of ``chains.classifier``. Of rules that match the same packet the most specific comes first."""
    active = [row for row in rows if row.deployment.is_active]
    spec: dict[str, Any] = {
        "fabric": FABRIC,
        "ingress": INGRESS,
        "egress": EGRESS,
        "rules": [
            {"path": row.chain.path, "match": match_of(row)} for row in sorted(active, key=_specificity)
        ],
        "paths": [path_spec(row, fabric) for row in rows],
        "active": {str(row.chain.path): row.deployment.epoch for row in active},
    }
    traced = [row for row in active if row.chain.trace_nonce]
    if traced:
        spec["trace"] = {"path": traced[0].chain.path, "count": 1, "nonce": traced[0].chain.trace_nonce}
    return spec


def switch_spec(rows: Sequence[Installed], fabric: Fabric) -> dict[str, Any]:
    """Return the spec of ``chains.switch``: which frames it copies to which ports."""
    groups = [group for row in rows for group in _groups(row, fabric)]
    return {"groups": {mac: list(ports) for mac, ports in switch_groups(groups, fabric.ports).items()}}


def _groups(row: Installed, fabric: Fabric) -> list[Group]:
    """Return the mirrors whose frames the fabric copies: none unless one switch joins everybody."""
    if not fabric.ports:
        return []
    return list(groups_of(row.table, row.chain.path or 0, row.deployment.epoch))


def match_of(row: Installed) -> dict[str, Any]:
    """Return which packets take a deployed chain: as it was planned, not as it is drawn meanwhile."""
    return dict(row.deployment.plan.content.get("match", {}))


def _specificity(row: Installed) -> tuple[int, int]:
    match = match_of(row)
    bits = sum(ip_network(match[side]).prefixlen for side in ("src", "dst") if side in match)
    bits += 8 * ("proto" in match) + 16 * ("dst_port" in match)
    return -bits, row.chain.path or 0
