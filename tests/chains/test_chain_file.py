"""Chains in YAML: what is written is read; errors name line and field; exports for others."""

import contextlib
import shlex

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.chains.chain_definition import definition_parse
from apps.chains.chain_export import chain_export, openflow_write
from apps.chains.chain_file import FILE_MAX_CHARS, ChainFileError, chain_file_read, chain_file_write
from apps.chains.engine.steering import Group, group_mac

FILE = """\
# A chain with everything
name: branch
title: Branch office
rate_pps: 1500
packet_bytes: 512
slo_p99_ms: 2.5
replan: apply
match: {src: 10.0.0.0/8, dst: 192.168.0.0/16, proto: tcp, dst_port: [443, 80]}
nfs:
  - name: fw
    type: firewall
    params:
      default: accept
  - name: scrub
    type: scrubber
    service: {mean_us: 12.5, scv: 0.2}
    pinned_server: dc-server-1
    is_state_advisory: true
servers:
  - {name: dc-server-1, cores: 4, link_bps: 1_000_000_000}
nf_types:
  scrubber:
    title: Scrubber
    profile: {reads: [ip_src], drops: true, drop_reads: [ip_src], state: flow}
constants: {hop_us: 12}
"""


def test_everything_is_read() -> None:
    file = chain_file_read(FILE)
    assert file.definition["match"] == {
        "src": "10.0.0.0/8", "dst": "192.168.0.0/16", "proto": "tcp", "dst_port": [80, 443],
    }  # fmt: skip
    assert file.definition["nfs"][1]["service"] == {"mean_us": 12.5, "scv": 0.2, "is_waiting": False}
    assert (file.definition["replan"], file.definition["slo_p99_ms"]) == ("apply", 2.5)
    assert file.servers == ({"name": "dc-server-1", "cores": 4.0, "link_bps": 1e9},)
    assert file.types["scrubber"].profile.drops
    assert file.constants is not None
    assert file.constants.hop_us == 12


def test_what_is_written_is_read_again() -> None:
    definition = chain_file_read(FILE).definition
    assert chain_file_read(chain_file_write(definition)).definition == definition


@pytest.mark.parametrize(
    ("old", "new", "line", "field"),
    [
        ("rate_pps: 1500", "rate_pps: fast", 4, "rate_pps"),
        ("rate_pps: 1500", "rate_pps: .inf", 4, "rate_pps"),
        ("rate_pps: 1500\n", "", 2, "rate_pps"),
        ("name: branch", "name: Branch", 2, "name"),
        ("dst_port: [443, 80]", "dst_port: [443, 99999]", 8, "match.dst_port[1]"),
        ("type: firewall", "typ: firewall", 11, "nfs[0].typ"),
        ("default: accept", "default: .nan", 12, "nfs[0].params"),
        ("mean_us: 12.5", "mean_us: 0", 16, "nfs[1].service.mean_us"),
        ("- name: scrub", "- name: fw", 14, "nfs[1].name"),
        ("cores: 4", "cores: none", 20, "servers[0].cores"),
        ("reads: [ip_src], drops", "reads: [ip_sorce], drops", 24, "nf_types.scrubber.profile.reads[0]"),
        ("title: Scrubber", "title: [1]", 23, "nf_types.scrubber.title"),
        ("hop_us: 12", "hop: 12", 25, "constants.hop"),
        ("title: Branch office", "name: twice", 3, "name"),
        ("title: Branch office", "titel: x", 3, "titel"),
    ],
)
def test_errors_name_line_and_field(old: str, new: str, line: int, field: str) -> None:
    assert old in FILE
    with pytest.raises(ChainFileError) as refused:
        chain_file_read(FILE.replace(old, new))
    assert (refused.value.line, refused.value.field) == (line, field)
    assert str(refused.value).startswith(f"line {line}: {field}: ")


@pytest.mark.parametrize(
    ("text", "line"),
    [("", 1), ("- a", 1), ("name: [", 1), ("a: &x 1\nb: *x", 2), ("a: 1\nb: !!python/name:os.system\n", 2),
     ("a: 1\nb: 2001-99-99\n", 1), ("\t", 1), ("a: \x00", 1), ("[" * 5000, 1), ("x" * (FILE_MAX_CHARS + 1), 1),
     ("? [a, b]\n: 1\n", 1), ("a: " + "{a: " * 30 + "1" + "}" * 30, 1)],
)  # fmt: skip
def test_what_is_no_chain_is_refused_with_its_line(text: str, line: int) -> None:
    with pytest.raises(ChainFileError) as refused:
        chain_file_read(text)
    assert refused.value.line == line


@given(st.text(max_size=200))
@settings(max_examples=200, deadline=None)
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(ChainFileError):
        chain_file_read(text)


names = st.from_regex(r"[a-z0-9][a-z0-9-]{0,20}", fullmatch=True)
values = st.one_of(st.integers(-99, 99), st.booleans(), st.text("xyz: #", max_size=6))
nfs = st.lists(
    st.fixed_dictionaries(
        {"name": names, "type": names},
        optional={
            "params": st.dictionaries(st.text("abc_", min_size=1, max_size=5), values, max_size=3),
            "is_state_advisory": st.booleans(),
            "service": st.fixed_dictionaries({"mean_us": st.floats(0.1, 1e5)}),
        },
    ),
    min_size=1,
    max_size=6,
    unique_by=lambda nf: nf["name"],
)


@given(
    names,
    st.text("abc äß:#'\"-", max_size=30),
    nfs,
    st.floats(0.01, 1e8),
    st.one_of(st.none(), st.floats(0.01, 1e4)),
)
@settings(max_examples=100, deadline=None)
def test_any_chain_survives_a_file(
    name: str, title: str, rows: list[object], rate: float, slo: float | None
) -> None:
    if name in ("new", "catalogue", "plans", "analyse", "what-if", "import"):
        return
    definition = definition_parse(
        {"name": name, "title": title, "nfs": rows, "rate_pps": rate, "slo_p99_ms": slo}
    )
    assert chain_file_read(chain_file_write(definition)).definition == definition


def test_tosca_has_one_criterion_per_port_and_all_functions_in_order() -> None:
    template = yaml.safe_load(chain_export(chain_file_read(FILE).definition, "tosca"))["topology_template"]
    path = template["node_templates"]["branch-path"]["properties"]
    assert [hop["forwarder"] for hop in path["path"]] == ["fw", "scrub"]
    assert [entry["classifier"]["destination_port_range"] for entry in path["policy"]["criteria"]] == [
        "80-80", "443-443",
    ]  # fmt: skip
    assert path["policy"]["criteria"][0]["classifier"]["ip_proto"] == 6
    assert template["groups"]["branch"]["members"] == ["branch-path"]


def test_networking_sfc_makes_pairs_groups_classifiers_and_the_chain() -> None:
    text = chain_export(chain_file_read(FILE).definition, "networking-sfc")
    commands = [shlex.split(line) for line in text.splitlines() if line.startswith("openstack")]
    kinds = [
        " ".join(word for word in command[1:6] if not word.startswith("--")).split(" create")[0]
        for command in commands
    ]
    assert kinds == ["sfc port pair", "sfc port pair group"] * 2 + ["sfc flow classifier"] * 2 + [
        "sfc port chain"
    ]
    assert commands[-1][-1] == "branch"
    assert commands[-1].index("fw-group") < commands[-1].index("scrub-group")


def test_rules_for_a_switch_name_groups_members_and_that_nobody_tested_them() -> None:
    groups = [Group(2, group_mac(7, 1, 2), ("a", "b")), Group(5, group_mac(7, 1, 5), ("b", "c", "d"))]
    text = openflow_write("web", groups, {"a": "p1", "b": "p2", "c": "p3", "d": "p4"})
    commands = [shlex.split(line) for line in text.splitlines() if line.startswith("ovs-ofctl")]
    assert [command[-1].split(",bucket")[0] for command in commands[::2]] == [
        "group_id=1313212162,type=all", "group_id=1313212165,type=all",
    ]  # fmt: skip
    assert commands[2][-1].endswith("bucket=output:p2,bucket=output:p3,bucket=output:p4")
    assert commands[3][-1] == (
        "cookie=0x4e46030000070105,priority=40000,dl_dst=03:00:00:07:01:05,actions=group:1313212165"
    )
    assert "Untested" in text
    assert "Nothing to do" in openflow_write("web", [], {})
