"""``python -m nfvportal.lab.traffic send|receive``: one flow for a time; the receiver prints what arrived as JSON."""

import argparse
import json
import sys
import time
from typing import Any

from nfvportal.lab.traffic.flows import KINDS, PROTOCOLS, Flow, parse_flows
from nfvportal.lab.traffic.receivers import make_receiver
from nfvportal.lab.traffic.role import SENDERS
from nfvportal.lib.errors import InvalidInputError

MAX_SECONDS = 86_400
FIELDS = ("kind", "protocol", "address", "port", "local_address", "rate_bps", "message_bytes", "interval_ms")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="nfvportal.lab.traffic", description=__doc__)
    parser.add_argument("part", choices=("send", "receive"))
    parser.add_argument("--kind", choices=KINDS, default="bulk")
    parser.add_argument("--protocol", choices=PROTOCOLS, default="mptcp")
    parser.add_argument("--address", required=True, help="where the receiver listens")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--local-address", help="where the sender sends from")
    parser.add_argument("--rate-bps", type=int)
    parser.add_argument("--message-bytes", type=int)
    parser.add_argument("--interval-ms", type=float)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--arrivals", action="store_true", help="also print the time of every arrival")
    return parser.parse_args()


def _flow(given: argparse.Namespace) -> Flow:
    if not 0 < given.seconds <= MAX_SECONDS:
        raise InvalidInputError("seconds", f"must be more than 0 and at most {MAX_SECONDS}")
    item: dict[str, Any] = {"name": "flow", "part": {"send": "sender", "receive": "receiver"}[given.part]}
    for name in FIELDS:
        if (value := getattr(given, name)) is not None:
            item[name] = value
    return parse_flows({"flows": [item]})[0]


def main() -> int:
    """Run one end of a flow."""
    given = _arguments()
    try:
        flow = _flow(given)
    except InvalidInputError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    if given.part == "send":
        sender = SENDERS[flow.kind](flow)
        sender.start()
        time.sleep(given.seconds)
        sender.stop()
        return 0
    receiver = make_receiver(flow, keep_arrivals=given.arrivals)
    receiver.start()
    time.sleep(given.seconds)
    receiver.stop()
    bins = receiver.take_bins(time.time() + 1)
    sys.stdout.write(json.dumps({"bins": bins, "arrivals": receiver.arrivals}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
