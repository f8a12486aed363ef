"""The lab's control socket: one JSON object per line in, one out."""

import asyncio
import json
import os
import signal
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from nfvportal.lab.bring_up import Network
from nfvportal.lab.faults import parse_fault
from nfvportal.lab.links import Links
from nfvportal.lab.node_processes import AgentKeeper, exec_in_node
from nfvportal.lab.self_test import SelfTest, run_self_test
from nfvportal.lib.errors import InvalidInputError

REQUEST_MAX_BYTES = 65_536
ARGUMENTS_MAX = 256
EXEC_TIMEOUT_MAX_S = 3_600.0

Request = Mapping[str, Any]


class Control:
    """Answers requests about one running lab."""

    def __init__(
        self,
        network: Network,
        links: Links,
        keepers: Mapping[str, AgentKeeper],
        self_test: SelfTest,
        is_realtime: bool,
    ) -> None:
        self._network = network
        self._links = links
        self._keepers = keepers
        self._self_test = self_test
        self._is_realtime = is_realtime
        self._connections = 0
        self._idle = asyncio.Event()
        self.stop_requested = asyncio.Event()
        # TABLE: operation -> what answers it.
        self._operations: dict[str, Callable[[Request], Awaitable[dict[str, Any]]]] = {
            "status": self._status,
            "fault": self._fault,
            "clear": self._clear,
            "exec": self._exec,
            "self_test": self._run_self_test,
            "agent_restart": self._agent_restart,
            "agent_kill": self._agent_kill,
            "agent_reload": self._agent_reload,
            "down": self._down,
        }

    async def serve(self, path: Path) -> asyncio.Server:
        """Listen at a Unix socket that only this user may use."""
        # The socket must not be open to others even for a moment.
        previous_mask = os.umask(0o177)
        try:
            return await asyncio.start_unix_server(self._connection, path, limit=REQUEST_MAX_BYTES)
        finally:
            os.umask(previous_mask)

    async def answer(self, line: bytes) -> dict[str, Any]:
        """Return the answer to one request line."""
        try:
            request = json.loads(line)
            if not isinstance(request, dict):
                raise InvalidInputError("", "a request must be a JSON object")
            operation = self._operations.get(str(request.get("op")))
            if operation is None:
                raise InvalidInputError("op", f"must be one of {', '.join(self._operations)}")
            return {"ok": True, "result": await operation(request)}
        except InvalidInputError as error:
            return {"ok": False, "error": error.limit, "field": error.field}
        except (ValueError, RecursionError):
            return {
                "ok": False,
                "error": f"a request must be one line of JSON of at most {REQUEST_MAX_BYTES} bytes",
                "field": "",
            }
        except (OSError, TimeoutError) as error:
            return {
                "ok": False,
                "error": f"the lab could not do it: {error or type(error).__name__}",
                "field": None,
            }

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one client; a request under way is cancelled when its client leaves.

        The next line is read while a request is answered: reading is how a client's leaving is noticed.
        """
        self._connections += 1
        reading = asyncio.create_task(self._read_line(reader))
        try:
            while line := await reading:
                reading = asyncio.create_task(self._read_line(reader))
                answering = asyncio.create_task(self.answer(line))
                await asyncio.wait({answering, reading}, return_when=asyncio.FIRST_COMPLETED)
                if reading.done() and not reading.result():
                    # A client that wrote its request and closed only its sending side reads no answer either.
                    answering.cancel()
                    return
                writer.write(json.dumps(await answering).encode() + b"\n")
                await writer.drain()
        except ConnectionError:
            return
        finally:
            reading.cancel()
            writer.close()
            self._connections -= 1
            if not self._connections:
                self._idle.set()

    async def _read_line(self, reader: asyncio.StreamReader) -> bytes:
        """Return the next line; empty at the end, a line that is no JSON in place of one that is too long."""
        try:
            return await reader.readline()
        except ValueError:
            return b"too long\n"
        except ConnectionError:
            return b""

    async def drained(self) -> None:
        """Wait until every client has left."""
        while self._connections:
            self._idle.clear()
            await self._idle.wait()

    async def _status(self, _request: Request) -> dict[str, Any]:
        nodes = [
            {
                "name": node.name,
                "kind": node.kind,
                "address": node.address,
                "roles": list(node.roles),
                "agent": self._keepers[node.name].as_json() if node.name in self._keepers else None,
            }
            for node in self._network.topology.nodes
        ]
        return {
            "topology": self._network.topology.name,
            "title": self._network.topology.title,
            "nodes": nodes,
            "links": await self._links.as_json(),
            "self_test": self._self_test.as_json(),
            "realtime": self._is_realtime,
            "backend": "relay",
        }

    async def _fault(self, request: Request) -> dict[str, Any]:
        fault = parse_fault(request)
        at_s = await self._links.relay(fault.link).set_fault(fault)
        return fault.as_json() | {"at_s": at_s}

    async def _clear(self, request: Request) -> dict[str, Any]:
        link = str(request.get("link"))
        return {"link": link, "at_s": await self._links.relay(link).set_fault(None)}

    async def _exec(self, request: Request) -> dict[str, Any]:
        node = self._network.topology.node(str(request.get("node")))
        argv, timeout_s = request.get("argv"), request.get("timeout_s", 10)
        if not isinstance(argv, list) or not 0 < len(argv) <= ARGUMENTS_MAX:
            raise InvalidInputError("argv", f"must be a list of 1 to {ARGUMENTS_MAX} words")
        if not all(isinstance(word, str) and "\0" not in word for word in argv):
            raise InvalidInputError("argv", "must hold words without NUL")
        if (
            isinstance(timeout_s, bool)
            or not isinstance(timeout_s, int | float)
            or not 0 < timeout_s <= EXEC_TIMEOUT_MAX_S
        ):
            raise InvalidInputError("timeout_s", f"must be a number above 0 and up to {EXEC_TIMEOUT_MAX_S:g}")
        return await exec_in_node(self._network.namespace_fds[node.name], argv, timeout_s)

    async def _run_self_test(self, _request: Request) -> dict[str, Any]:
        # On this thread on purpose: moving into a node's network must not be interleaved with anything else.
        self._self_test = run_self_test(self._network, deadline_s=1.0)
        return self._self_test.as_json()

    async def _agent_restart(self, request: Request) -> dict[str, Any]:
        keeper = self._keeper(request)
        await keeper.restart()
        return keeper.as_json()

    async def _agent_kill(self, request: Request) -> dict[str, Any]:
        return {"pid": self._keeper(request).signal(signal.SIGKILL)}

    async def _agent_reload(self, request: Request) -> dict[str, Any]:
        return {"pid": self._keeper(request).signal(signal.SIGHUP)}

    def _keeper(self, request: Request) -> AgentKeeper:
        keeper = self._keepers.get(str(request.get("node")))
        if keeper is None:
            raise InvalidInputError(
                "node", f"must be a node with an agent: {', '.join(self._keepers) or 'there is none'}"
            )
        return keeper

    async def _down(self, _request: Request) -> dict[str, Any]:
        self.stop_requested.set()
        return {"stopping": True}
