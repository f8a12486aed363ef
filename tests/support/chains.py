"""Chains as the rows and bodies that tests start from."""

from typing import Any

import pytest

from apps.chains.chain_definition import definition_parse
from apps.chains.models import Chain, NfType
from apps.chains.services.chains import chain_create

Body = dict[str, Any]
VPN_CHAIN = ("vpn", "monitor", "firewall", "load_balancer")


@pytest.fixture
def catalogue(db: None) -> None:
    """The types that come with the portal."""
    from apps.chains.seeds import catalogue_seed

    catalogue_seed()


def chain_body(name: str = "web-vpn", types: tuple[str, ...] = VPN_CHAIN, **fields: Any) -> Body:
    """Return a chain as people send it."""
    nfs = [{"name": type_.replace("_", "-"), "type": type_} for type_ in types]
    return {"name": name, "title": "", "nfs": nfs, "rate_pps": 1000.0, **fields}


def chain_make(name: str = "web-vpn", types: tuple[str, ...] = VPN_CHAIN, **fields: Any) -> Chain:
    """Return a stored chain."""
    return chain_create(definition=definition_parse(chain_body(name, types, **fields)), actor=None)


def type_body(slug: str = "waf", **fields: Any) -> Body:
    """Return a type of network function as people send it."""
    profile = {"reads": ["ip_src", "payload"], "drops": True, "drop_reads": ["payload"], "state": "flow"}
    return {"slug": slug, "title": "Web application firewall", "profile": profile, **fields}


def nf_type(slug: str) -> NfType:
    """Return a stored type."""
    return NfType.objects.get(slug=slug)
