"""Set-up of a checkout: ``setup.py run|test|lock|clean``. Standard library only; run through ``setup.sh``.

``run`` makes the virtual environment from ``requirements/base.txt`` and fetches the front-end files by
``package-lock.json``; ``test`` does the same from ``requirements/dev.txt`` and wants Chromium too. Each step leaves
a stamp (hash of its lock), so that a second run only compares hashes.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
VENV = CHECKOUT / ".venv"
VENV_PYTHON = VENV / "bin" / "python"
REQUIREMENTS = CHECKOUT / "requirements"
NODE_MODULES = CHECKOUT / "node_modules"
NODE_MAJOR_MIN = 18

# program -> Debian package, what will not run without it
SYSTEM_TOOLS = {
    "ip": ("iproute2", "the lab (emulated network) will not run"),
    "unshare": ("util-linux", "the lab, and as root the built-in PostgreSQL, will not run"),
    "nsenter": ("util-linux", "the lab (emulated network) will not run"),
    "nft": ("nftables", "network functions and verdicts that are rules of nftables will not run"),
    "ngrep": ("ngrep", "network functions of the type ngrep will not run"),
}
# The same for ``test``.
TEST_TOOLS: dict[str, tuple[str, str]] = {
    "tshark": ("tshark", "what it finds in captures is not compared with ours"),
    "ovs-vswitchd": ("openvswitch-switch", "steering over OpenFlow is not tested against a real switch"),
}
# Package -> its service, which we do not want: tests start programs of their own.
SERVICES_OFF = {"openvswitch-switch": "openvswitch-switch"}
POLICY = Path("/usr/sbin/policy-rc.d")
POLICY_TEXT = (
    "#!/bin/sh\n# Written by the set-up of nfvportal while it installs a package; may be removed.\nexit 101\n"
)
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome")


class SetupError(Exception):
    """Set-up cannot go on; the message says what to do."""


def run(arguments: list[str], doing: str, hint: str, env: dict[str, str] | None = None) -> None:
    """Run a command quietly; on failure raise ``SetupError`` with the end of what it said."""
    started_s = time.monotonic()
    print(f"  {doing} ...", end="", flush=True)
    result = subprocess.run(
        arguments,
        cwd=CHECKOUT,
        env=env,
        check=False,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    if result.returncode != 0:
        print(" failed")
        tail = "\n".join(result.stdout.strip().splitlines()[-15:])
        raise SetupError(f"{tail}\n\n{doing} failed (exit code {result.returncode}). {hint}")
    print(f" {time.monotonic() - started_s:.1f} s")


def digest(*parts: Path | str) -> str:
    """Return one hash over files' contents and strings."""
    total = hashlib.sha256()
    for part in parts:
        total.update(part.read_bytes() if isinstance(part, Path) else part.encode())
        total.update(b"\0")
    return total.hexdigest()


def is_stamped(stamp: Path, value: str) -> bool:
    """Whether the step behind this stamp was done with this very input."""
    try:
        return stamp.read_text() == value
    except OSError:
        return False


def is_debian_root() -> bool:
    """Whether we may install Debian or Ubuntu packages."""
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


@contextlib.contextmanager
def services_denied() -> Iterator[None]:
    """Keep packages from starting their services meanwhile, unless the machine has a policy of its own.

    Without systemd, too: there Debian's packages start daemons by their init scripts, and nobody would stop them.
    """
    if POLICY.exists() and POLICY.read_text(errors="replace") != POLICY_TEXT:
        yield
        return
    POLICY.write_text(POLICY_TEXT)
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink(missing_ok=True)


_apt_lists_updated = False


def apt_install(packages: list[str]) -> None:
    """Install Debian packages; the lists are updated once per run.

    Raises:
        SetupError: apt-get failed.
    """
    global _apt_lists_updated
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    if not _apt_lists_updated:
        run(["apt-get", "update", "-q"], "apt-get update", "Is a package mirror reachable?", env)
        _apt_lists_updated = True
    names = " ".join(packages)
    command = ["apt-get", "install", "-y", "-q", "--no-install-recommends", *packages]
    services = [SERVICES_OFF[package] for package in packages if package in SERVICES_OFF]
    with services_denied() if services else contextlib.nullcontext():
        run(command, f"apt-get install {names}", f"Install {names} by hand, then try again.", env)
    for service in services:
        # Nor at the next start of the machine; works with and without systemd.
        subprocess.run(["update-rc.d", service, "disable"], check=False, capture_output=True)


def want_packages(packages: list[str], without_them: str) -> None:
    """Install packages the portal can live without, or say what will be missing."""
    if is_debian_root():
        try:
            apt_install(packages)
        except SetupError as error:
            print(f"  {error}\n  Going on: without {' '.join(packages)}, {without_them}.")
        return
    print(f"  Missing: {' '.join(packages)}. Without it, {without_them}.")
    print(f"  As root: apt-get install {' '.join(packages)}")


def tools_ensure(tools: dict[str, tuple[str, str]]) -> None:
    """Ask for system programs that are not there."""
    missing = {tool: entry for tool, entry in tools.items() if shutil.which(tool, path=tool_path()) is None}
    for package in sorted({package for package, _ in missing.values()}):
        effects = dict.fromkeys(effect for name, effect in missing.values() if name == package)
        want_packages([package], "; ".join(effects))


def tool_path() -> str:
    """Return the PATH with the system's sbin directories, which ordinary users often lack."""
    return os.pathsep.join([os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/sbin"])


def chromium_ensure() -> None:
    """Ask for Chromium, which the browser tests drive."""
    if not any(shutil.which(name, path=tool_path()) for name in CHROMIUM_NAMES):
        want_packages(["chromium"], "browser tests are skipped")


def venv_package() -> str:
    """Return the Debian package that holds ``venv`` for this Python."""
    is_system = Path(sys.executable).resolve().parent == Path("/usr/bin")
    return f"python{sys.version_info[0]}.{sys.version_info[1]}-venv" if is_system else "python3-venv"


def venv_ensure() -> None:
    """Make the virtual environment, or make it anew when its Python is gone or too old."""
    probe = [str(VENV_PYTHON), "-I", "-c", "import sys, pip; sys.exit(sys.version_info < (3, 11))"]
    stamp = VENV / "stamp.place"
    is_ours = VENV_PYTHON.exists() and is_stamped(stamp, str(VENV))
    if is_ours and subprocess.run(probe, check=False, capture_output=True).returncode == 0:
        return
    try:
        import ensurepip  # noqa: F401  # Debian splits it off into python3-venv
        import venv  # noqa: F401
    except ImportError:
        if not is_debian_root():
            raise SetupError(
                f"Python at {sys.executable} cannot make virtual environments, and nothing runs without one.\n"
                f"As root: apt-get install {venv_package()}"
            ) from None
        apt_install([venv_package()])
    shutil.rmtree(VENV, ignore_errors=True)
    version = ".".join(map(str, sys.version_info[:3]))
    run(
        [sys.executable, "-m", "venv", str(VENV)],
        f"virtual environment .venv (Python {version})",
        f"On Debian or Ubuntu: apt-get install {venv_package()}",
        clean_environment(),
    )
    stamp.write_text(str(VENV))


def clean_environment() -> dict[str, str]:
    """Return our environment without what an active virtual environment or a strange HOME would change."""
    env = {
        k: v
        for k, v in os.environ.items()
        if k not in {"PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV", "PIP_USER"}
    }
    env["PIP_REQUIRE_VIRTUALENV"] = "0"
    home = Path(env.get("HOME") or "/nonexistent")
    if not os.access(home, os.W_OK):
        env["npm_config_cache"] = str(CHECKOUT / ".npm-cache")
        env["PIP_NO_CACHE_DIR"] = "1"
    return env


def pip_install(lock: str, title: str) -> None:
    """Install one hashed lock into the virtual environment."""
    run(
        [str(VENV_PYTHON), "-I", "-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check",
         "--prefer-binary", "--require-hashes", "-r", str(REQUIREMENTS / lock)],
        title,
        "Is the Python package index reachable (pip's settings, proxy)? Nothing runs without these packages.",
        clean_environment(),
    )  # fmt: skip


def python_packages_ensure(kind: str) -> None:
    """Install ``base`` or ``dev`` packages unless their stamp says they are there."""
    wanted = {name: digest(REQUIREMENTS / f"{name}.txt") for name in ("base", "dev")}
    if is_stamped(VENV / f"stamp.{kind}", wanted[kind]):
        return
    pip_install(f"{kind}.txt", f"Python packages from requirements/{kind}.txt")
    # dev.txt holds everything that base.txt does.
    for name in ("base", "dev") if kind == "dev" else ("base",):
        (VENV / f"stamp.{name}").write_text(wanted[name])


def npm_command() -> list[str]:
    """Return npm of the machine when it is fit, otherwise npm of the wheel, installed now."""
    npm, node = shutil.which("npm"), shutil.which("node")
    if npm and node:
        answer = subprocess.run([node, "--version"], check=False, text=True, capture_output=True)
        major = answer.stdout.strip().removeprefix("v").split(".")[0]
        works = subprocess.run([npm, "--version"], check=False, capture_output=True).returncode == 0
        if works and major.isdigit() and int(major) >= NODE_MAJOR_MIN:
            return [npm]
    if not (VENV / "bin" / "npm").exists():
        pip_install("node.txt", "Node from requirements/node.txt (this machine has no fit npm)")
    return [str(VENV / "bin" / "npm")]


def front_end_ensure() -> None:
    """Fetch the browser's files by ``package-lock.json``."""
    stamp = NODE_MODULES / ".stamp"
    wanted = digest(CHECKOUT / "package.json", CHECKOUT / "package-lock.json")
    if is_stamped(stamp, wanted):
        return
    env = clean_environment()
    env["PATH"] = os.pathsep.join([env.get("PATH", ""), str(VENV / "bin")])
    run(
        [*npm_command(), "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
        "front-end files from package-lock.json",
        "Is the npm registry reachable (npm's settings, proxy)? Pages need these files.",
        env,
    )
    stamp.write_text(wanted)


def engines_ensure() -> None:
    """Compile the loops of engines now, so that nobody waits for it at first use.

    An engine that has some comes with a module ``warming``. Where that fails, first use compiles.
    """
    for module in sorted(CHECKOUT.glob("apps/*/engine/warming.py")):
        app = module.parents[1].name
        stamp = VENV / f"stamp.engine.{app}"
        wanted = digest(REQUIREMENTS / "base.txt", *sorted(module.parent.glob("*.py")))
        if is_stamped(stamp, wanted):
            continue
        command = [str(VENV_PYTHON), "-m", f"apps.{app}.engine.warming"]
        try:
            run(command, f"compiled loops of {app}", "", clean_environment())
            stamp.write_text(wanted)
        except (SetupError, OSError) as error:
            print(f"  {error}\n  Going on: the first use of {app} compiles them.")


def lock_make() -> None:
    """Make all locks again."""
    venv_ensure()
    pip_install("lock.txt", "uv from requirements/lock.txt")
    for name in ("base", "dev", "node", "lock"):
        command = [
            str(VENV / "bin" / "uv"), "pip", "compile", "--quiet", "--universal", "--python-version", "3.11",
            "--generate-hashes", "--no-emit-index-url", "--no-annotate", "--custom-compile-command", "make lock",
            "--upgrade", f"requirements/{name}.in", "-o", f"requirements/{name}.txt",
        ]  # fmt: skip
        run(
            command, f"requirements/{name}.txt", "Is the Python package index reachable?", clean_environment()
        )
    run([*npm_command(), "install", "--package-lock-only"], "package-lock.json", "", clean_environment())


def clean() -> None:
    """Remove what our commands made, unless a portal runs here."""
    sys.path.insert(0, str(CHECKOUT))
    from nfvportal.supervise.locks import supervisor_pid  # the path is set just above
    from nfvportal.supervise.paths import Paths
    from nfvportal.supervise.postgres import fallback_folder

    paths = Paths.from_env({}, CHECKOUT)
    if pid := supervisor_pid(paths):
        raise SetupError(
            f"A portal is running here (process {pid}). Stop it first: make clean removes its data."
        )
    names = [
        ".venv",
        "node_modules",
        "var",
        ".npm-cache",
        ".mypy_cache",
        ".pytest_cache",
        ".ruff_cache",
        ".hypothesis",
    ]
    for target in [*(CHECKOUT / name for name in names), paths.run, fallback_folder(paths)]:
        shutil.rmtree(target, ignore_errors=True)
    for cache in CHECKOUT.rglob("__pycache__"):
        shutil.rmtree(cache, ignore_errors=True)


def prepare(kind: str) -> None:
    """Do all steps of ``run`` or ``test``."""
    started_s = time.monotonic()
    tools_ensure(SYSTEM_TOOLS)
    venv_ensure()
    python_packages_ensure("dev" if kind == "test" else "base")
    front_end_ensure()
    engines_ensure()
    if kind == "test":
        tools_ensure(TEST_TOOLS)
        chromium_ensure()
    took_s = time.monotonic() - started_s
    if took_s > 2:
        print(f"Set-up took {took_s:.1f} s")


def main(arguments: list[str]) -> int:
    """Run one target; return the exit code."""
    if sys.platform != "linux":
        print("nfvportal runs on Linux only: agents and the lab need its kernel.", file=sys.stderr)
        return 1
    targets = {
        "run": lambda: prepare("run"),
        "test": lambda: prepare("test"),
        "lock": lock_make,
        "clean": clean,
    }
    if len(arguments) != 1 or arguments[0] not in targets:
        print(f"usage: setup.py {'|'.join(targets)}", file=sys.stderr)
        return 2
    # Two set-ups of one checkout at a time would undo each other; the second waits, then finds everything done.
    checkout_fd = os.open(CHECKOUT, os.O_RDONLY)
    fcntl.flock(checkout_fd, fcntl.LOCK_EX)
    try:
        targets[arguments[0]]()
    except SetupError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted; the next run goes on from here.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
