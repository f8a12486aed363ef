"""Role ``wan.gateway``: keeps the routes of the map, probes the links, fails over by itself."""

import asyncio
import contextlib
import gc
import logging
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from apps.wan.agent.gateway_spec import GatewaySpec, parse_gateway_spec
from apps.wan.agent.prober import Prober, QualityWindow, use_realtime
from apps.wan.agent.replayer import Replayer
from apps.wan.agent.rerouter import Rerouter, try_reconcile
from nfvportal.agent.netlink import InterfaceCounters, Netlink
from nfvportal.agent.role import RoleContext
from nfvportal.lib.errors import InvalidInputError

logger = logging.getLogger(__name__)
RECONCILE_EVERY_S = 5.0
MAIN_PRIORITY = 10
SWITCH_INTERVAL_S = 0.0005
COMPAT_MODE = Path("/proc/sys/net/ipv4/nexthop_compat_mode")
FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")


class Gateway:
    """The role; see nfvportal.agent.role.Role."""

    def __init__(self, context: RoleContext) -> None:
        self._context = context
        self._spec: GatewaySpec | None = None
        self._rerouter: Rerouter | None = None
        self._prober: Prober | None = None
        self._replayer: Replayer | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._counters = Netlink()
        self._carried: tuple[float, dict[str, InterfaceCounters]] = (time.monotonic(), {})
        self._are_routes_ok = False

    async def apply(self, spec: Mapping[str, Any]) -> None:
        """Follow a spec; a mere change of the map does not disturb the probes.

        Raises:
            InvalidInputError: a field breaks its limit, or an interface does not exist.
        """
        wanted = parse_gateway_spec(spec)
        if self._spec is not None and self._prober is not None and _same_probes(self._spec, wanted):
            self._spec = wanted
            self._prober.update(wanted)
            return
        self._stop_probing()
        _prepare_process()
        try:
            self._rerouter = Rerouter(wanted)
            held = self._rerouter.held_mapping()
            self._rerouter.adopt(wanted, {**wanted.advice, **wanted.home, **held})
            self._replayer = _replayer(wanted)
            self._prober = Prober(wanted, self._rerouter, self._emit, self._report, self._replayer)
        except OSError as error:
            self._stop_probing()
            raise InvalidInputError("links", f"the device cannot use them: {error}") from error
        self._spec = wanted
        self._are_routes_ok = try_reconcile(self._rerouter)
        if self._replayer is not None:
            self._replayer.start()
        self._prober.start()
        if self._keeper is None:
            self._keeper = asyncio.create_task(self._keep_routes(), name="wan-routes")

    def snapshot(self) -> Mapping[str, object]:
        """Return links, map, epoch and whether the kernel follows the map."""
        state = self._prober.state() if self._prober is not None else {"links": [], "map": {}, "epoch": 0}
        return {**state, "routes_ok": self._are_routes_ok}

    async def close(self) -> None:
        """Stop probing; the kernel goes on forwarding by the last map."""
        if self._keeper is not None:
            self._keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeper
        self._stop_probing()
        self._counters.close()

    def _stop_probing(self) -> None:
        if self._prober is not None:
            self._prober.stop()
            self._prober = None
        if self._replayer is not None:
            self._replayer.stop()
            self._replayer = None
        if self._rerouter is not None:
            self._rerouter.close()
            self._rerouter = None

    async def _keep_routes(self) -> None:
        while True:
            await asyncio.sleep(RECONCILE_EVERY_S)
            if self._rerouter is not None:
                self._are_routes_ok = await asyncio.to_thread(try_reconcile, self._rerouter)

    def _emit(self, event: str, data: Mapping[str, object], at_s: float) -> None:
        if event == "wan.gateway.state":
            data = {**data, "routes_ok": self._are_routes_ok}
        self._context.emit(event, data, at_s)

    def _report(self, windows: list[QualityWindow]) -> None:
        """Add what the interfaces carried and hand one row per link to the agent. Runs on the probing thread."""
        assert self._spec is not None
        now_s, counters = time.monotonic(), self._counters.counters()
        before_s, before = self._carried
        self._carried = (now_s, counters)
        rates = {
            link.name: _rates(before.get(link.interface), counters.get(link.interface), now_s - before_s)
            for link in self._spec.links
        }
        self._context.sample(
            {
                "at_s": [round(time.time(), 3)] * len(windows),
                "link": [window.link for window in windows],
                "state": [window.state for window in windows],
                "rtt_ms": [window.rtt_ms for window in windows],
                "jitter_ms": [window.jitter_ms for window in windows],
                "loss_ratio": [window.loss_ratio for window in windows],
                "rx_bps": [rates[window.link][0] for window in windows],
                "tx_bps": [rates[window.link][1] for window in windows],
                "probe_gap_ms_max": [window.gap_ms_max for window in windows],
            }
        )


def _replayer(spec: GatewaySpec) -> Replayer | None:
    """Return the replayer, unless the spec or the kernel does not want one."""
    if not (spec.is_rerouting and spec.is_replaying):
        return None
    try:
        return Replayer(spec)
    except OSError as error:
        logger.warning("what is under way on a failing link cannot be sent again: %s", error)
        return None


def _same_probes(old: GatewaySpec, new: GatewaySpec) -> bool:
    """Whether two specs differ at most in their maps."""
    return replace(old, home=new.home, advice=new.advice, epoch=new.epoch) == new


def _rates(
    before: InterfaceCounters | None, now: InterfaceCounters | None, seconds: float
) -> tuple[int | None, int | None]:
    """Return (rx, tx) in bit/s; ``None`` where there are not two readings."""
    if before is None or now is None or seconds <= 0:
        return None, None
    rx, tx = now.rx_bytes - before.rx_bytes, now.tx_bytes - before.tx_bytes
    return (max(0, int(rx * 8 / seconds)), max(0, int(tx * 8 / seconds)))


def _prepare_process() -> None:
    """Make the kernel forward and replace nexthops without telling every route, and the process punctual."""
    for path, value in ((FORWARDING, "1"), (COMPAT_MODE, "0")):
        try:
            path.write_text(value)
        except OSError as error:
            logger.warning("could not set %s: %s", path, error)
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    gc.freeze()
    use_realtime(MAIN_PRIORITY)
