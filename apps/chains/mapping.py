"""Between rows and the engine's values: the one file that knows both."""

from collections.abc import Iterable, Mapping
from typing import cast

from apps.chains.chain_definition import Definition, KnownType, chain_of
from apps.chains.engine.chain import Chain as EngineChain
from apps.chains.engine.chain import Server
from apps.chains.engine.hybrid import Node
from apps.chains.models import Chain, NfType, Plan
from apps.chains.plan_json import chain_from_json, node_from_json, profile_parse, service_from_json
from nfvportal.inventory.models import Device, Link

# What a server offers when its agent does not say.
CORES_DEFAULT = 2.0
LINK_BPS_DEFAULT = 10e9


def known_type_of(row: NfType) -> KnownType:
    """Return what the engine needs of a catalogue row."""
    return KnownType(
        profile_parse("profile", row.profile), service_from_json("service", row.service), row.implementation
    )


def engine_chain(definition: Mapping[str, object], types: Iterable[NfType]) -> EngineChain:
    """Return a definition as the planner takes it.

    Raises:
        InvalidInputError: a type is not in the catalogue.
    """
    return chain_of(cast(Definition, definition), {row.slug: known_type_of(row) for row in types})


def definition_of(row: Chain) -> Definition:
    """Return a stored chain as its operator wrote it."""
    return cast(Definition, row.definition)


def planned_chain(plan: Plan) -> EngineChain:
    """Return the chain with the profiles and times that a plan was made from."""
    return chain_from_json(plan.inputs)


def planned_root(plan: Plan) -> Node:
    """Return a plan's hybrid chain."""
    return node_from_json(plan.content["root"])


def server_of(device: Device, links: Iterable[Link]) -> Server:
    """Return a device as the planner takes it; ``links`` are those of the device."""
    told = device.capabilities.get("cores")
    is_number = isinstance(told, int | float) and not isinstance(told, bool) and 0 < told <= 4096
    rates = [link.capacity_bps for link in links]
    return Server(
        device.name, float(told) if is_number else CORES_DEFAULT, float(min(rates, default=LINK_BPS_DEFAULT))
    )
