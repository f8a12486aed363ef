"""Where a portal keeps its state, its logs and its sockets."""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

# A Unix socket's path may hold 107 bytes; the longest name we put behind the run directory is 20.
RUN_DIR_MAX_BYTES = 70


@dataclass(frozen=True, slots=True)
class Paths:
    """Files of one portal instance. ``state`` survives a restart; ``run`` holds sockets and is short."""

    state: Path
    run: Path

    @classmethod
    def from_env(cls, env: Mapping[str, str], checkout: Path) -> "Paths":
        """Return the paths that ``NFV_STATE_DIR`` and ``NFV_RUN_DIR`` name, or the defaults in the checkout.

        The default run directory lies in the state directory where its path is short enough for sockets, otherwise
        in /tmp under a name derived from user and state directory.
        """
        state = Path(env.get("NFV_STATE_DIR") or checkout / "var").absolute()
        if given := env.get("NFV_RUN_DIR"):
            return cls(state=state, run=Path(given).absolute())
        run = state / "run"
        if len(os.fsencode(run)) >= RUN_DIR_MAX_BYTES:
            digest = hashlib.sha256(os.fsencode(state)).hexdigest()[:8]
            run = Path(f"/tmp/nfvportal-{os.getuid()}-{digest}")  # noqa: S108  # created 0700 and checked for its owner
        return cls(state=state, run=run)

    @property
    def postgres_data(self) -> Path:
        """The database cluster."""
        return self.state / "pg"

    @property
    def valkey_data(self) -> Path:
        """Valkey's append-only file."""
        return self.state / "valkey"

    @property
    def logs(self) -> Path:
        """One log file per process."""
        return self.state / "log"

    @property
    def agents(self) -> Path:
        """One folder per device of the lab: token, desired state, journal."""
        return self.state / "agents"

    @property
    def lab(self) -> Path:
        """Files of the lab."""
        return self.state / "lab"

    @property
    def secrets(self) -> Path:
        """``secrets.json``: keys made at the first start."""
        return self.state / "secrets.json"

    @property
    def instance(self) -> Path:
        """``instance.json``: addresses of the running instance."""
        return self.run / "instance.json"

    @property
    def lock(self) -> Path:
        """Locked by the one supervisor that may use this state; holds its process id."""
        return self.run / "supervisor.pid"

    @property
    def web_socket(self) -> Path:
        """The portal's Unix socket (agents of the lab use it)."""
        return self.run / "web.sock"

    @property
    def lab_socket(self) -> Path:
        """The lab's control socket."""
        return self.run / "lab.sock"

    @property
    def valkey_socket(self) -> Path:
        """Valkey's Unix socket."""
        return self.run / "valkey.sock"

    @property
    def postgres_socket(self) -> Path:
        """Postgres's Unix socket."""
        return self.run / ".s.PGSQL.5432"

    @property
    def database_url(self) -> str:
        """Address of the database this instance runs itself."""
        return f"postgresql://nfvportal@/nfvportal?host={self.run}"

    @property
    def valkey_url(self) -> str:
        """Address of the Valkey this instance runs itself."""
        return f"unix://{self.valkey_socket}"

    def make_directories(self) -> None:
        """Create all directories, private to this user.

        Raises:
            PermissionError: the run directory exists and belongs to someone else.
        """
        for directory in (
            self.state,
            self.state / "static",
            self.run,
            self.valkey_data,
            self.logs,
            self.agents,
            self.lab,
        ):
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        if self.run.stat().st_uid != os.getuid():
            raise PermissionError(f"{self.run} belongs to another user; choose another with NFV_RUN_DIR")
