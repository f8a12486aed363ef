"""Which class runs which type of network function."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from apps.chains.engine.nfs.firewall import Firewall
from apps.chains.engine.nfs.header_enrichment import HeaderEnrichment
from apps.chains.engine.nfs.ids import SignatureDetector
from apps.chains.engine.nfs.load_balancer import LoadBalancer
from apps.chains.engine.nfs.monitor import Monitor
from apps.chains.engine.nfs.nat import Nat
from apps.chains.engine.nfs.network_function import NetworkFunction
from apps.chains.engine.nfs.rate_limiter import RateLimiter
from apps.chains.engine.nfs.url_filter import UrlFilter
from apps.chains.engine.nfs.vpn import Vpn
from apps.chains.engine.nfs.waiter import Waiter
from nfvportal.lib.errors import InvalidInputError

MAKERS: Final[dict[str, Callable[[Mapping[str, object]], NetworkFunction]]] = {
    "firewall": Firewall,
    "monitor": Monitor,
    "load_balancer": LoadBalancer,
    "ids": SignatureDetector,
    "ips": partial(SignatureDetector, is_blocking=True),
    "dpi": SignatureDetector,
    "header_enrichment": HeaderEnrichment,
    "nat": Nat,
    "rate_limiter": RateLimiter,
    "url_filter": UrlFilter,
    "vpn": Vpn,
    "waiter": Waiter,
}


def make_nf(type: str, params: Mapping[str, object]) -> NetworkFunction:
    """Return a new network function.

    Raises:
        InvalidInputError: ``type`` has no implementation of ours, or ``params.<field>`` breaks its limit.
    """
    maker = MAKERS.get(type)
    if maker is None:
        raise InvalidInputError("type", "must be one of: " + ", ".join(sorted(MAKERS)))
    return maker(params)
