"""A lab's life: it starts once per socket, keeps agents alive, and however it ends nothing of it stays."""

import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from nfvportal.lab.client import LabClient, LabUnavailable
from nfvportal.lab.isolation import EXIT_FORBIDDEN
from nfvportal.lab.launch import launched_lab, start_lab, wait_until_ready
from nfvportal.lab.node_processes import CHECKOUT
from tests.support.waiting import wait_until

pytestmark = pytest.mark.lab

WITHIN_S = 30  # for what a test waits for before it begins; what a lab promises is asked for below
Lab = tuple["subprocess.Popen[bytes]", LabClient, Path]


def processes_naming(words: str) -> set[int]:
    """Processes of this machine whose command line holds ``words``."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                if words.encode() in (entry / "cmdline").read_bytes():
                    found.add(int(entry.name))
            except OSError:
                continue
    return found


def assert_nothing_left(directory: Path) -> None:
    """No process of the lab in ``directory`` runs; every one of them carries the socket's path."""
    wait_until(lambda: not processes_naming(str(directory)), "every process of the lab is gone", 5)
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
    assert "nfvlab" not in listed
    links = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, check=True).stdout
    assert "wan-fiber" not in links
    assert "r0a" not in links


@pytest.fixture
def lab(lab_allowed: None, short_directory: Path) -> Iterator[Lab]:
    process = start_lab(short_directory, "branch", ["--no-agents"])
    wait_until_ready(process, short_directory)
    yield process, LabClient(short_directory / "lab.sock"), short_directory
    if process.poll() is None:
        process.terminate()
    process.wait(timeout=10)
    assert process.stdout is not None
    process.stdout.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_in_order(lab: Lab, number: signal.Signals) -> None:
    process, _, directory = lab
    process.send_signal(number)
    assert process.wait(timeout=5) == 0
    assert not (directory / "lab.sock").exists()
    assert_nothing_left(directory)


def test_down_ends_it_in_order(lab: Lab) -> None:
    process, client, directory = lab
    assert client.down() == {"stopping": True}
    client.wait_until_down()
    assert process.wait(timeout=5) == 0
    assert_nothing_left(directory)
    with pytest.raises(LabUnavailable, match="no lab answers"):
        client.status()


def test_kill_9_of_its_outer_process_leaves_nothing(lab: Lab) -> None:
    process, client, directory = lab
    # A command that ignores every polite signal, in a session of its own.
    marker = str(directory / "stubborn")
    stubborn = (
        f"import signal, time; signal.signal(15, signal.SIG_IGN); open({marker!r}, 'w'); time.sleep(600)"
    )
    impatient = LabClient(client.socket_path, timeout_s=0.5)
    argv = [
        sys.executable,
        "-c",
        f"import subprocess; subprocess.Popen(['setsid', {sys.executable!r}, '-c', {stubborn!r}])",
    ]
    with pytest.raises(LabUnavailable):
        impatient.ask({"op": "exec", "node": "gw-a", "argv": argv, "timeout_s": 600})
    wait_until(Path(marker).exists, "the stubborn command runs", WITHIN_S)
    process.kill()
    process.wait(timeout=5)
    assert_nothing_left(directory)


def test_kill_9_of_the_lab_inside_leaves_nothing(lab: Lab) -> None:
    process, _, directory = lab
    inside = processes_naming(str(directory)) - {process.pid}
    children = {pid for pid in inside if parent_of(pid) == process.pid}
    (init_pid,) = children
    (lab_pid,) = {pid for pid in inside if parent_of(pid) == init_pid}
    os.kill(lab_pid, signal.SIGKILL)
    assert process.wait(timeout=5) == 128 + signal.SIGKILL
    assert_nothing_left(directory)


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])


def test_a_dead_relay_ends_the_lab_with_a_reason(lab: Lab) -> None:
    process, _, directory = lab
    deepest = max(processes_naming(str(directory)))
    os.kill(deepest, signal.SIGKILL)
    assert process.wait(timeout=5) == 1
    assert "the relay of link lte died" in (directory / "lab.err").read_text()
    assert_nothing_left(directory)


def test_it_dies_with_the_process_that_started_it(lab_allowed: None, short_directory: Path) -> None:
    code = f"""
        from pathlib import Path
        import time
        from nfvportal.lab.launch import start_lab, wait_until_ready
        process = start_lab(Path({str(short_directory)!r}), "branch", ["--no-agents"])
        print(wait_until_ready(process, Path({str(short_directory)!r})), flush=True)
        time.sleep(600)
    """
    argv = [sys.executable, "-c", textwrap.dedent(code)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, cwd=CHECKOUT) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline().startswith(b"lab ready")
        parent.kill()
    assert_nothing_left(short_directory)


def test_a_stale_socket_is_taken_over_and_a_live_one_is_not(lab: Lab) -> None:
    process, client, directory = lab
    second = subprocess.run(
        process.args, cwd=CHECKOUT, capture_output=True, text=True, timeout=10, check=False
    )
    assert second.returncode == 2
    assert "already belongs to a running lab" in second.stderr
    assert client.status()["self_test"]["ok"], "the first lab is unharmed"
    process.kill()
    process.wait(timeout=5)
    wait_until(lambda: not processes_naming(str(directory)), "the killed lab is gone", 5)
    assert (directory / "lab.sock").exists(), "a killed lab cannot remove its socket"
    with launched_lab(directory) as again:
        assert again.status()["self_test"]["ok"]
    assert_nothing_left(directory)


def test_only_its_user_may_use_the_socket(lab: Lab) -> None:
    _, client, _ = lab
    assert client.socket_path.stat().st_mode & 0o777 == 0o600


def test_two_labs_do_not_disturb_each_other(lab: Lab, short_directory: Path) -> None:
    _, client, _ = lab
    other = short_directory / "other"
    other.mkdir()
    with launched_lab(other) as second:
        second.fault("fiber", "blackhole")
        assert client.self_test()["ok"]
        assert not second.self_test()["ok"]


def test_agents_are_kept_running(lab_allowed: None, short_directory: Path) -> None:
    arguments = ["--agents-dir", str(short_directory / "agents"), "--portal", "none"]
    with launched_lab(short_directory, arguments=arguments) as client:

        def agent(name: str) -> dict[str, object]:
            return next(node["agent"] for node in client.status()["nodes"] if node["name"] == name)

        first = wait_until(lambda: agent("gw-a")["pid"], "the agent runs", WITHIN_S)
        assert client.agent_kill("gw-a") == {"pid": first}
        second = wait_until(
            lambda: agent("gw-a")["pid"] not in {first, None} and agent("gw-a")["pid"], "it is back", 5
        )
        assert agent("gw-a")["restarts"] == 1
        client.agent_restart("gw-a")
        wait_until(lambda: agent("gw-a")["pid"] not in {second, None}, "it was restarted", WITHIN_S)
        assert agent("gw-b")["restarts"] == 0
    assert (short_directory / "agents" / "gw-a" / "agent.log").exists()
    assert_nothing_left(short_directory)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--topology", "nowhere", "--no-agents"], "topology: must be one of branch"),
        (["--topology", "branch"], "agents-dir: is required unless"),
    ],
)
def test_a_wrong_command_line_is_one_clear_line(
    short_directory: Path, arguments: list[str], words: str
) -> None:
    argv = [sys.executable, "-m", "nfvportal.lab", "up", "--socket", str(short_directory / "s"), *arguments]
    done = subprocess.run(argv, cwd=CHECKOUT, capture_output=True, text=True, timeout=10, check=False)
    assert done.returncode == 2
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


def test_where_namespaces_are_forbidden_it_says_so_and_exits_78(
    lab_allowed: None, short_directory: Path
) -> None:
    """Inside a user namespace that may hold no further namespaces, as on a machine that forbids them."""
    if shutil.which("unshare") is None:
        pytest.skip("needs the command unshare (package util-linux)")
    forbid = (
        'for kind in user net mnt pid; do echo 0 > /proc/sys/user/max_${kind}_namespaces; done; exec "$@"'
    )
    argv = ["unshare", "-U", "--map-current-user", "--keep-caps", "sh", "-c", forbid, "sh"]
    argv += [
        sys.executable,
        "-m",
        "nfvportal.lab",
        "up",
        "--no-agents",
        "--socket",
        str(short_directory / "s"),
    ]
    started_s = time.monotonic()
    done = subprocess.run(argv, cwd=CHECKOUT, capture_output=True, text=True, timeout=10, check=False)
    assert done.returncode == EXIT_FORBIDDEN, done.stderr
    assert done.stderr.startswith("lab: this")
    assert done.stderr.count("\n") == 1
    assert time.monotonic() - started_s < 5


def test_a_missing_ip_command_is_named_with_its_package(short_directory: Path) -> None:
    argv = [
        sys.executable,
        "-m",
        "nfvportal.lab",
        "up",
        "--no-agents",
        "--socket",
        str(short_directory / "s"),
    ]
    environment = os.environ | {"PATH": str(short_directory)}
    done = subprocess.run(
        argv, cwd=CHECKOUT, capture_output=True, text=True, env=environment, timeout=10, check=False
    )
    assert done.returncode == EXIT_FORBIDDEN
    assert "iproute2" in done.stderr
