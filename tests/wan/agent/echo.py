"""``python -m tests.wan.agent.echo serve | ask SOURCE TARGET COUNT READY``: datagrams there and back, every 10 ms.

``ask`` makes the file READY after the first answer and prints the sequence numbers that were answered, as JSON.
"""

import json
import select
import socket
import sys
import time
from pathlib import Path

PORT = 5998
INTERVAL_S = 0.01
START_WITHIN_S = 5.0
LAST_ANSWER_S = 0.5


def serve() -> None:
    """Answer until told to end."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("", PORT))
        server.settimeout(30)
        while True:
            data, client = server.recvfrom(64)
            if data == b"end":
                return
            server.sendto(data, client)


def ask(source: str, target: str, count: int, ready: Path) -> set[int]:
    """Return the numbers 1..count that were answered."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.bind((source, 0))
        client.connect((target, PORT))
        answered: set[int] = set()
        deadline_s = time.monotonic() + START_WITHIN_S
        while 0 not in answered and time.monotonic() < deadline_s:
            _send(client, b"0")
            _collect(client, answered, INTERVAL_S)
        ready.touch()
        for number in range(1, count + 1):
            _send(client, b"%d" % number)
            _collect(client, answered, INTERVAL_S)
        deadline_s = time.monotonic() + LAST_ANSWER_S
        while count not in answered and time.monotonic() < deadline_s:
            _collect(client, answered, INTERVAL_S)
        for _ in range(5):
            _send(client, b"end")
        return answered - {0}


def _send(client: socket.socket, data: bytes) -> None:
    try:
        client.send(data)
    except OSError:
        return  # nobody listens yet, or no route for a moment: lost, as on the wire


def _collect(client: socket.socket, answered: set[int], for_s: float) -> None:
    end_s = time.monotonic() + for_s
    while (left_s := end_s - time.monotonic()) > 0:
        if select.select([client], [], [], left_s)[0]:
            try:
                answered.add(int(client.recv(64)))
            except OSError:
                continue


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve()
    else:
        source, target, count, ready = sys.argv[2:]
        sys.stdout.write(json.dumps(sorted(ask(source, target, int(count), Path(ready)))))
