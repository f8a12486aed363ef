"""``manage.py lab`` against a running lab."""

import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from nfvportal.lab.client import LabClient

pytestmark = pytest.mark.lab


def lab_command(client: LabClient, *words: str) -> str:
    out = StringIO()
    call_command("lab", "--socket", str(client.socket_path), *words, stdout=out, stderr=StringIO())
    return out.getvalue()


def test_status_shows_nodes_links_and_faults(branch_lab: LabClient) -> None:
    branch_lab.fault("lte", "loss", value=0.25)
    text = lab_command(branch_lab, "status")
    branch_lab.clear("lte")
    assert text.startswith("branch: Branch and headquarters")
    assert "reachability ok (6 directed pairs)" in text
    assert "FAULT loss 0.25 ratio" in text
    assert "lan-host" not in text, "wires have nothing to show"
    assert json.loads(lab_command(branch_lab, "status", "--json"))["topology"] == "branch"


def test_fault_and_clear_say_when(branch_lab: LabClient) -> None:
    assert (
        json.loads(lab_command(branch_lab, "fault", "dsl", "delay", "40", "--duration", "60"))["value"] == 40
    )
    assert json.loads(lab_command(branch_lab, "clear", "dsl"))["at_s"] > 0
    assert all(link["fault"] is None for link in branch_lab.status()["links"])


def test_exec_passes_output_and_exit_code_on(branch_lab: LabClient) -> None:
    assert "192.0.2.5/30" in lab_command(branch_lab, "exec", "gw-a", "--", "ip", "-br", "address")
    with pytest.raises(SystemExit) as ended:
        lab_command(branch_lab, "exec", "gw-a", "--", "sh", "-c", "exit 5")
    assert ended.value.code == 5
    with pytest.raises(CommandError) as late:
        lab_command(branch_lab, "exec", "gw-a", "--timeout", "0.2", "--", "sleep", "60")
    assert late.value.returncode == 124


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("fault", "lan-host", "blackhole"), "link: must be one of fiber, dsl, lte"),
        (("fault", "fiber", "loss"), "value: is required"),
        (("exec", "nobody", "--", "true"), "node: must be one of branch-host"),
    ],
)
def test_a_mistake_is_one_clear_line(branch_lab: LabClient, words: tuple[str, ...], said: str) -> None:
    with pytest.raises(CommandError, match=said) as caught:
        lab_command(branch_lab, *words)
    assert caught.value.returncode == 2


def test_without_a_lab_it_says_so() -> None:
    with pytest.raises(CommandError, match="no lab answers at"):
        lab_command(LabClient("/nonexistent/lab.sock"), "status")


def test_topologies_are_listed(branch_lab: LabClient) -> None:
    assert "branch  Branch and headquarters" in lab_command(branch_lab, "topologies")
