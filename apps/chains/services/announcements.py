"""What browsers are told after a commit, in one place: which change goes onto which topic."""

from collections.abc import Callable, Mapping
from typing import Any

from django.db import transaction

from apps.chains.models import Chain, ChainAlarm, ChainPlacement, Deployment, Plan
from apps.chains.selectors import (
    alarm_data,
    chain_data,
    chain_get,
    chain_row,
    deployment_data,
    deployment_shown,
    live_plan,
    placement_summary,
    plan_data,
)
from nfvportal.live.publish import publish

LIST_TOPIC = "chains"


def topic_of(name: str) -> str:
    """Return the topic of one chain."""
    return f"chain:{name}"


def announce_chain(row: Chain) -> None:
    """Tell that a chain, or where it stands, changed."""

    def tell(chain: Chain) -> None:
        publish(LIST_TOPIC, "chain_changed", {"chain": chain_row(chain)})
        publish(topic_of(chain.name), "chain_changed", {"chain": chain_data(chain)})

    _after_commit(row.name, tell)


def announce_removed(name: str) -> None:
    """Tell that a chain is gone."""
    transaction.on_commit(lambda: publish(LIST_TOPIC, "chain_removed", {"name": name}), robust=True)
    transaction.on_commit(lambda: publish(topic_of(name), "chain_removed", {"name": name}), robust=True)


def announce_plan(row: Plan) -> None:
    """Tell that the planner answered."""
    data = {"plan": plan_data(row)}
    transaction.on_commit(lambda: publish(topic_of(row.chain.name), "plan_ready", data), robust=True)
    announce_chain(row.chain)


def announce_deployment(row: Deployment) -> None:
    """Tell that a deployment, and so its chain, changed."""

    def tell(chain: Chain) -> None:
        shown = deployment_shown(chain)
        data = {
            "deployment": deployment_data(shown, chain) if shown else None,
            "live_plan": live_plan(chain),
        }
        publish(topic_of(chain.name), "deployment_changed", data)

    _after_commit(row.chain.name, tell)
    announce_chain(row.chain)


def announce_alarm(row: ChainAlarm) -> None:
    """Tell that an alarm was raised or cleared."""
    data = {"alarm": alarm_data(row)}
    transaction.on_commit(lambda: publish(topic_of(row.chain.name), "alarm", data), robust=True)
    announce_chain(row.chain)


def announce_placement(row: ChainPlacement) -> None:
    """Tell that chains were placed together; whoever shows placements asks for it."""
    transaction.on_commit(
        lambda: publish(LIST_TOPIC, "placement_ready", {"placement": placement_summary(row)}), robust=True
    )


def announce_trace(chain: Chain, trace: Mapping[str, Any]) -> None:
    """Tell that the path of a packet is known."""
    transaction.on_commit(
        lambda: publish(topic_of(chain.name), "trace_ready", {"trace": dict(trace)}), robust=True
    )


def _after_commit(name: str, tell: Callable[[Chain], None]) -> None:
    """Read the chain anew after the commit: what is told is what a snapshot would say."""
    transaction.on_commit(lambda: tell(chain_get(name)), robust=True)
