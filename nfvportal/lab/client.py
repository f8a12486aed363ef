"""The lab's control socket, seen from outside. One connection per call, so a client may be shared by threads."""

import json
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nfvportal.lib.errors import InvalidInputError

ANSWER_MAX_BYTES = 8 * 1024 * 1024


class LabUnavailable(Exception):  # noqa: N818  # a state of the outside world, not a programming error
    """No lab answers at the socket, or it answered with something that is no answer."""


class LabRefused(Exception):  # noqa: N818
    """The lab could not do what it was asked, though the request was well formed."""


class LabClient:
    """Ask a running lab.

    Args:
        socket_path: the lab's control socket.
        timeout_s: how long an answer may take; ``exec`` adds its own time to it.
    """

    def __init__(self, socket_path: Path | str, timeout_s: float = 5.0) -> None:
        self.socket_path = Path(socket_path)
        self._timeout_s = timeout_s

    def status(self) -> dict[str, Any]:
        """Return topology, nodes with their agents, links with faults and counters, and the self-test."""
        return self.ask({"op": "status"})

    def fault(
        self,
        link: str,
        kind: str,
        value: float | None = None,
        duration_s: float | None = None,
        seed: int | None = None,
    ) -> dict[str, Any]:
        """Start a fault; ``at_s`` in the result is the epoch time at which the link changed."""
        return self.ask(
            {
                "op": "fault",
                "link": link,
                "kind": kind,
                "value": value,
                "duration_s": duration_s,
                "seed": seed,
            }
        )

    def clear(self, link: str) -> dict[str, Any]:
        """Restore a link; ``at_s`` in the result is the epoch time at which it changed."""
        return self.ask({"op": "clear", "link": link})

    def exec(self, node: str, argv: Sequence[str], timeout_s: float = 10.0) -> dict[str, Any]:
        """Run a command in a node; returns ``exit_code``, ``stdout``, ``stderr``, ``timed_out``."""
        request = {"op": "exec", "node": node, "argv": list(argv), "timeout_s": timeout_s}
        return self.ask(request, self._timeout_s + timeout_s)

    def agent_restart(self, node: str) -> dict[str, Any]:
        """End a node's agent in order and start it again."""
        return self.ask({"op": "agent_restart", "node": node}, self._timeout_s + 5)

    def agent_kill(self, node: str) -> dict[str, Any]:
        """Kill a node's agent (SIGKILL); the lab starts it again after its back-off."""
        return self.ask({"op": "agent_kill", "node": node})

    def agent_reload(self, node: str) -> dict[str, Any]:
        """Tell a node's agent to read its desired state from disk again (SIGHUP)."""
        return self.ask({"op": "agent_reload", "node": node})

    def self_test(self) -> dict[str, Any]:
        """Test directed reachability again; returns ``ok``, ``checked``, ``failed``."""
        return self.ask({"op": "self_test"})

    def down(self) -> dict[str, Any]:
        """End the lab and everything in it."""
        return self.ask({"op": "down"})

    def wait_until_down(self, timeout_s: float = 10.0) -> None:
        """Wait until the lab's control socket is gone.

        Raises:
            LabRefused: it is still there when time is up.
        """
        deadline_s = time.monotonic() + timeout_s
        while self.socket_path.exists():
            if time.monotonic() > deadline_s:
                raise LabRefused(f"the lab at {self.socket_path} is still there after {timeout_s:g} s")
            time.sleep(0.02)

    def ask(self, request: dict[str, Any], timeout_s: float | None = None) -> dict[str, Any]:
        """Send one request and return its result.

        Raises:
            LabUnavailable: nobody answers in time.
            LabRefused: the lab answered that it cannot.
            InvalidInputError: the lab refused a field of the request.
        """
        try:
            line = self._exchange(json.dumps(request).encode() + b"\n", timeout_s or self._timeout_s)
            answer = json.loads(line)
        except OSError as error:
            raise LabUnavailable(f"no lab answers at {self.socket_path} ({error})") from error
        except ValueError as error:
            raise LabUnavailable(f"the lab at {self.socket_path} ended without an answer") from error
        if answer.get("ok"):
            result: dict[str, Any] = answer["result"]
            return result
        if answer.get("field") is not None:
            raise InvalidInputError(answer["field"], answer["error"])
        raise LabRefused(answer.get("error", "refused without a reason"))

    def _exchange(self, request: bytes, timeout_s: float) -> bytes:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(timeout_s)
            connection.connect(str(self.socket_path))
            connection.sendall(request)
            chunks, size_bytes = [], 0
            while chunk := connection.recv(65_536):
                chunks.append(chunk)
                size_bytes += len(chunk)
                if chunk.endswith(b"\n") or size_bytes > ANSWER_MAX_BYTES:
                    break
            return b"".join(chunks)
