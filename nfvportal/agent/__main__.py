"""``python -m nfvportal.agent``: run the agent of one device."""

import argparse
import asyncio
import logging
import signal
import sys
from pathlib import Path
from random import Random

from nfvportal.agent.connection import Portal
from nfvportal.agent.roles import ROLES
from nfvportal.agent.runner import Agent, AgentOptions
from nfvportal.lib.errors import InvalidInputError


def _options(arguments: list[str]) -> AgentOptions:
    parser = argparse.ArgumentParser(prog="nfvportal.agent", description="The agent of one device.")
    parser.add_argument("--device", required=True, help="name of this device in the inventory")
    parser.add_argument("--token-file", type=Path, help="file with the device token; not needed offline")
    parser.add_argument(
        "--portal", required=True, help="unix:/path, ws://host:port, wss://host, or none (offline)"
    )
    parser.add_argument(
        "--state-dir", type=Path, required=True, help="where the agent keeps its desired state"
    )
    parser.add_argument("--roles", default=",".join(ROLES), help="roles this device offers, comma separated")
    parser.add_argument(
        "--journal", action="store_true", help="also write events and samples to journal.jsonl"
    )
    given = parser.parse_args(arguments)
    try:
        portal = None if given.portal == "none" else Portal(given.portal)
    except InvalidInputError as error:
        parser.error(str(error))
    if portal is not None and given.token_file is None:
        parser.error("--token-file is required to talk to a portal")
    roles = tuple(role for role in given.roles.split(",") if role)
    if unknown := [role for role in roles if role not in ROLES]:
        parser.error(f"unknown roles {', '.join(unknown)}; known are {', '.join(ROLES)}")
    return AgentOptions(given.device, given.token_file, portal, given.state_dir, roles, given.journal)


async def _main(options: AgentOptions) -> None:
    agent = Agent(options, Random())  # noqa: S311  jitter, not secrets
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, agent.stop)
    loop.add_signal_handler(signal.SIGINT, agent.stop)
    loop.add_signal_handler(signal.SIGHUP, agent.reload)
    await agent.run()


if __name__ == "__main__":
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stderr
    )
    logging.getLogger("websockets").setLevel(logging.WARNING)
    asyncio.run(_main(_options(sys.argv[1:])))
