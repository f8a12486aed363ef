"""Chains for others' orchestrators: TOSCA VNFFG and networking-sfc commands, and a plan's rules for a switch. Pure.

The former know sequences only: no orchestrator that reads them copies packets to branches and merges them again.
What is exported is therefore the chain as drawn, which a hybrid plan equals in every output and state.

Source: TOSCA Simple Profile for NFV 1.0 section 10 (VNFFG, FP), as OpenStack Tacker reads it; networking-sfc's commands
``openstack sfc port pair|port pair group|flow classifier|port chain create``.
"""

import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import yaml

from apps.chains.chain_definition import Definition, MatchJson
from apps.chains.chain_file import chain_file_write
from apps.chains.engine.openflow_steering import GROUP_FIRST, PRIORITY, cookie_of
from apps.chains.engine.steering import Group, switch_groups

FORMATS: Final = ("yaml", "tosca", "networking-sfc")
CONTENT_TYPES: Final = {
    "yaml": ("application/yaml", "yml"),
    "tosca": ("application/yaml", "tosca.yml"),
    "networking-sfc": ("text/x-shellscript", "sh"),
}
# IANA's numbers: TOSCA names protocols by number.
_PROTOCOL_NUMBERS: Final = {"icmp": 1, "tcp": 6, "udp": 17, "ah": 51, "icmpv6": 58, "sctp": 132}


def chain_export(definition: Definition, format_: str) -> str:
    """Return a chain as text in one of ``FORMATS``."""
    writers = {"yaml": chain_file_write, "tosca": tosca_write, "networking-sfc": networking_sfc_write}
    return writers[format_](definition)


def tosca_write(definition: Definition) -> str:
    """Return a chain as a TOSCA service template with one forwarding graph and one path."""
    name = definition["name"]
    path = f"{name}-path"
    forwarders = [nf["name"] for nf in definition["nfs"]]
    criteria = [
        _tosca_criterion(f"{name}-{index}", entry)
        for index, entry in enumerate(_entries(definition["match"]))
    ]
    template = {
        "tosca_definitions_version": "tosca_simple_profile_for_nfv_1_0_0",
        "description": definition["title"] or name,
        "topology_template": {
            "node_templates": {
                path: {
                    "type": "tosca.nodes.nfv.FP.TackerV2",
                    "description": f"{name}, in sequence",
                    "properties": {
                        "id": 1,
                        "policy": {"type": "ACL", "criteria": criteria},
                        "path": [
                            {"forwarder": nf, "capability": {"ingress": f"{nf}-in", "egress": f"{nf}-out"}}
                            for nf in forwarders
                        ],
                    },
                }
            },
            "groups": {
                name: {
                    "type": "tosca.groups.nfv.VNFFG",
                    "description": definition["title"] or name,
                    "properties": {
                        "vendor": "nfvportal",
                        "version": 1.0,
                        "number_of_endpoints": 2 * len(forwarders),
                        "dependent_virtual_link": [f"{nf}-link" for nf in forwarders],
                        "connection_point": [f"{nf}-{end}" for nf in forwarders for end in ("in", "out")],
                        "constituent_vnfs": forwarders,
                    },
                    "members": [path],
                }
            },
        },
    }
    text: str = yaml.safe_dump(template, sort_keys=False, allow_unicode=True, width=110)
    return text


def networking_sfc_write(definition: Definition) -> str:
    """Return a chain as the commands that make it; ports ``<nf>-in`` and ``<nf>-out`` must exist."""
    name = definition["name"]
    lines = ["#!/bin/sh", f"# {name}: ports <nf>-in and <nf>-out, and {name}-ingress, must exist.", "set -e"]
    for nf in definition["nfs"]:
        pair = nf["name"]
        lines.append(_command("sfc port pair create", ingress=f"{pair}-in", egress=f"{pair}-out", _=pair))
        lines.append(_command("sfc port pair group create", port_pair=pair, _=f"{pair}-group"))
    classifiers = []
    for index, entry in enumerate(_entries(definition["match"])):
        classifiers.append(f"{name}-{index}")
        lines.append(_classifier(name, classifiers[-1], entry))
    groups = [word for nf in definition["nfs"] for word in ("--port-pair-group", f"{nf['name']}-group")]
    flows = [word for classifier in classifiers for word in ("--flow-classifier", classifier)]
    lines.append(shlex.join(["openstack", "sfc", "port", "chain", "create", *groups, *flows, name]))
    return "\n".join(lines) + "\n"


def openflow_write(name: str, groups: Iterable[Group], ports: Mapping[str, str]) -> str:
    """Return what a plan's mirrors ask of a switch, as commands of ``ovs-ofctl`` that may be run again.

    The entries are those that the role ``chains.switch`` makes by itself on a switch it can reach, under other group
    numbers: here one follows from path and operator, so that chains of up to 256 paths do not meet.

    Args:
        name: of the chain.
        groups: the mirrors that send to several servers.
        ports: name in the operator table -> name of the switch's port towards it.
    """
    lines = [
        "#!/bin/sh",
        f"# {name}: copies frames of its mirrors to the servers that want them. Argument: the bridge, or where its",
        "# management connection listens, e.g. unix:/run/openvswitch/br0.mgmt. Port names stand for the servers.",
        "# Untested: written without asking a switch.",
        "set -e",
        'bridge="${1:?which bridge}"',
    ]
    wanted = switch_groups(groups, ports)
    if not wanted:
        lines.append("# Nothing to do: no mirror of this plan sends to two servers or more.")
    for mac, members in wanted.items():
        address = bytes.fromhex(mac.replace(":", ""))
        number = GROUP_FIRST | address[3] << 8 | address[5]
        lines += _openflow_commands(mac, number, members)
    return "\n".join(lines) + "\n"


def _openflow_commands(mac: str, number: int, members: Sequence[str]) -> list[str]:
    buckets = ",".join(f"bucket=output:{port}" for port in members)
    flow = f"cookie={cookie_of(mac):#x},priority={PRIORITY},dl_dst={mac},actions=group:{number}"
    return [
        f"""ovs-ofctl -O OpenFlow13 --may-create mod-group "$bridge" 'group_id={number},type=all,{buckets}'""",
        f"""ovs-ofctl -O OpenFlow13 add-flow "$bridge" '{flow}'""",
    ]


def _entries(match: MatchJson) -> list[dict[str, Any]]:
    """Return one entry per destination port: both formats know ranges, not sets."""
    base: dict[str, Any] = {name: value for name, value in match.items() if name != "dst_port"}
    return [{**base, "port": port} for port in match.get("dst_port", [])] or [base]


def _tosca_criterion(name: str, entry: dict[str, Any]) -> dict[str, Any]:
    criterion: dict[str, Any] = {"network_src_port_id": f"{name.rpartition('-')[0]}-ingress"}
    if "src" in entry:
        criterion["ip_src_prefix"] = entry["src"]
    if "dst" in entry:
        criterion["ip_dst_prefix"] = entry["dst"]
    if "proto" in entry:
        criterion["ip_proto"] = _PROTOCOL_NUMBERS[entry["proto"]]
    if "port" in entry:
        criterion["destination_port_range"] = f"{entry['port']}-{entry['port']}"
    return {"name": name, "classifier": criterion}


def _classifier(chain: str, name: str, entry: dict[str, Any]) -> str:
    options = {"logical_source_port": f"{chain}-ingress"}
    prefix = entry.get("src") or entry.get("dst")
    if prefix:
        options["ethertype"] = "IPv6" if ":" in prefix else "IPv4"
    if "src" in entry:
        options["source_ip_prefix"] = entry["src"]
    if "dst" in entry:
        options["destination_ip_prefix"] = entry["dst"]
    if "proto" in entry:
        options["protocol"] = entry["proto"]
    if "port" in entry:
        options["destination_port"] = f"{entry['port']}:{entry['port']}"
    return _command("sfc flow classifier create", _=name, **options)


def _command(verb: str, *, _: str, **options: str) -> str:
    words = ["openstack", *verb.split()]
    for name, value in options.items():
        words += [f"--{name.replace('_', '-')}", value]
    return shlex.join([*words, _])
