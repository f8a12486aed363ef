"""Chains that operators run, to measure with: those of the brief ("Real chains") and NFP's two.

Times per packet are the catalogue's. The rate makes the slowest network function half busy, so that chains compare.
"""

from dataclasses import replace
from typing import Final

from apps.chains.engine.catalogue import CATALOGUE
from apps.chains.engine.chain import Chain, NfInstance

# TABLE: name -> types in order.
REFERENCE_CHAINS: Final[dict[str, tuple[str, ...]]] = {
    "north-south": ("firewall", "monitor", "load_balancer", "firewall"),
    "east-west": ("firewall", "ids", "load_balancer"),
    "gi-lan": ("tcp_optimiser", "dpi", "header_enrichment", "url_filter", "nat", "firewall"),
    "enterprise-branch": ("nat", "firewall", "ids", "proxy"),
    "nfp-vpn": ("vpn", "monitor", "firewall", "load_balancer"),
    "nfp-ids": ("ids", "monitor", "load_balancer"),
}
UTILIZATION: Final = 0.5


def reference_chain(name: str) -> Chain:
    """Return one of ``REFERENCE_CHAINS`` with its slowest network function half busy."""
    nfs = tuple(
        NfInstance(f"{slug}-{number}", slug, CATALOGUE[slug].profile, CATALOGUE[slug].service)
        for number, slug in enumerate(REFERENCE_CHAINS[name], 1)
    )
    slowest_us = max(nf.service.mean_us for nf in nfs)
    return Chain(name, nfs, rate_pps=UTILIZATION * 1e6 / slowest_us)


def balanced_chain(length: int, mean_us: float = 100.0) -> Chain:
    """Return that many monitors of equal exponential service, each half busy."""
    monitor = CATALOGUE["monitor"]
    service = replace(monitor.service, mean_us=mean_us, scv=1.0)
    nfs = tuple(
        NfInstance(f"monitor-{number}", "monitor", monitor.profile, service)
        for number in range(1, length + 1)
    )
    return Chain(f"balanced-{length}", nfs, rate_pps=UTILIZATION * 1e6 / mean_us)
