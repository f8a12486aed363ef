"""Suite ``paint``: from a fault injected into the lab to the changed state painted in Chromium.

A whole portal with its lab runs on a temporary state directory. One Chromium shows the WAN page while a crowd of
further websocket clients follows the same topic. The clock starts where the lab's relay switches (``at_s`` of its
answer) and stops after the frame that shows the link's card as ``down``. All clocks are the machine's own.
"""

import contextlib
import json
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Page

from nfvportal.bench.rows import BenchOptions, Row
from nfvportal.lab.client import LabClient
from tests.support.chromium import MISSING, chromium, chromium_path
from tests.support.whole_portal import CHECKOUT, WholePortal, whole_portal

GOAL_MS = 300.0
FAULTS = 50
QUICK_FAULTS = 6
CROWDS = (100, 200)  # 200 is a stretch: same goal
LINKS = ("fiber", "dsl", "lte")
GATEWAYS = ("gw-a", "gw-b")
FAULTS_PER_AGENT_LIFE = 9
PAINT_WITHIN_S = 10.0
UP_WITHIN_S = 150.0

# Remembers when the frame that shows a card's new state was painted: a task queued from an animation frame runs
# after that frame.
OBSERVE = """
globalThis.painted = [];
new MutationObserver((changes) => {
  for (const change of changes) {
    const { link, state } = change.target.dataset;
    if (!link || change.oldValue === state) continue;
    requestAnimationFrame(() => {
      const { port1, port2 } = new MessageChannel();
      port1.onmessage = () => {
        const at_ms = performance.timeOrigin + performance.now();
        globalThis.painted.push({ link, state, at_ms, wall_ms: Date.now() });
      };
      port2.postMessage(0);
    });
  }
}).observe(document, { subtree: true, attributes: true, attributeFilter: ["data-state"], attributeOldValue: true });
"""


@contextlib.contextmanager
def crowd(portal: WholePortal, cookie: str, count: int) -> Iterator[dict[str, Any]]:
    """Hold ``count`` websocket clients; the yielded mapping says afterwards how many frames they got."""
    command = [sys.executable, "-m", "tests.benchmarks.live_crowd", portal.url, cookie, str(count)]
    report: dict[str, Any] = {}
    process = subprocess.Popen(
        command, cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        if line.strip() != f"ready {count}":
            raise RuntimeError(f"the crowd of {count} did not connect: {line!r}")
        yield report
        process.stdin.close()
        report.update(json.loads(process.stdout.readline()))
    finally:
        process.terminate()
        process.wait(timeout=10)


def _log_in(browser: Browser, portal: WholePortal) -> tuple[Page, str]:
    """Return the WAN page and the session cookie for the crowd."""
    context = browser.new_context(viewport={"width": 1400, "height": 900})
    context.add_init_script(OBSERVE)
    page = context.new_page()
    page.goto(f"{portal.url}login/?next=/wan/")
    page.get_by_label("Username").fill("admin")
    page.get_by_label("Password").fill(portal.password)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url("**/wan/")
    cookies = context.cookies()
    return page, "; ".join(f"{cookie['name']}={cookie['value']}" for cookie in cookies)


def _wait_state(page: Page, link: str, state: str, within_s: float) -> None:
    page.wait_for_selector(f'[data-link="{link}"][data-state="{state}"]', timeout=within_s * 1000)


def _painted_after(page: Page, link: str, at_s: float) -> dict[str, Any]:
    """Return the first painted ``down`` of ``link`` after the fault."""
    found = page.wait_for_function(
        "([link, at_ms]) => painted.find((row) => row.link === link && row.state === 'down' && row.at_ms > at_ms)",
        arg=[link, at_s * 1000],
        timeout=PAINT_WITHIN_S * 1000,
    )
    return dict(found.json_value())


def _choose_link(page: Page, rng: random.Random) -> str:
    """Return a link to break; two links are up at any time, so that there is always a way out."""
    deadline_s = time.monotonic() + UP_WITHIN_S
    while True:
        up = [
            link
            for link in LINKS
            if page.locator(f'[data-link="{link}"]').get_attribute("data-state") == "up"
        ]
        if len(up) >= 2:
            return rng.choice(up)
        if time.monotonic() > deadline_s:
            raise RuntimeError(f"only {up} came back within {UP_WITHIN_S:.0f} s")
        page.wait_for_timeout(50)


def _forget_flaps(page: Page, lab: LabClient) -> None:
    """Start both gateways' agents anew and wait until the page shows all links up.

    Hold-down doubles with every failure of the last five minutes, up to a minute; it plays no part in what is measured
    here and would make fifty faults last a quarter of an hour.
    """
    for gateway in GATEWAYS:
        lab.agent_restart(gateway)
    for link in LINKS:
        fresh = f'[data-link="{link}"][data-state="up"][data-fresh="live"]'
        page.wait_for_selector(fresh, timeout=UP_WITHIN_S * 1000)


def _measure(page: Page, lab: LabClient, count: int, rng: random.Random) -> tuple[list[float], float]:
    """Inject ``count`` faults one after the other; return the times in ms and the largest clock difference."""
    times_ms: list[float] = []
    skew_ms = 0.0
    for number in range(count):
        if number and number % FAULTS_PER_AGENT_LIFE == 0:
            _forget_flaps(page, lab)
        link = _choose_link(page, rng)
        at_s = float(lab.fault(link, "blackhole")["at_s"])
        try:
            painted = _painted_after(page, link, at_s)
        finally:
            lab.clear(link)
        times_ms.append(painted["at_ms"] - at_s * 1000)
        skew_ms = max(skew_ms, abs(painted["at_ms"] - painted["wall_ms"]))
    return times_ms, skew_ms


def _quantile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least ``share`` of the values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * int(share * 100) // 100) - 1)]


def _row(portal: WholePortal, page: Page, cookie: str, size: int, options: BenchOptions) -> Row:
    count = options.repetitions or (QUICK_FAULTS if options.quick else FAULTS)
    lab = LabClient(portal.paths.lab_socket)
    rng = random.Random(options.seed)
    with crowd(portal, cookie, size) as report:
        times_ms, skew_ms = _measure(page, lab, count, rng)
    return Row(
        figure=f"fault to painted with {size} further clients, p95",
        value=round(_quantile(times_ms, 0.95), 1),
        unit="ms",
        goal=GOAL_MS,
        n=count,
        spread=(round(min(times_ms), 1), round(max(times_ms), 1)),
        detail={
            "median_ms": round(statistics.median(times_ms), 1),
            "clients": size,
            "crowd": report,
            "clock_difference_ms_max": round(skew_ms, 1),
            "quick": options.quick,
            "stretch": size == CROWDS[1],
        },
    )


def run(options: BenchOptions) -> list[Row]:
    """Measure with each size of crowd on one portal."""
    if chromium_path() is None:
        return [
            Row(
                figure=f"fault to painted with {size} further clients, p95",
                value=None,
                unit="ms",
                goal=GOAL_MS,
                n=0,
                detail={"reason": MISSING},
            )
            for size in CROWDS
        ]
    with whole_portal() as portal, chromium() as browser:
        page, cookie = _log_in(browser, portal)
        for link in LINKS:
            _wait_state(page, link, "up", UP_WITHIN_S)
        assert urlsplit(page.url).path == "/wan/"
        return [_row(portal, page, cookie, size, options) for size in CROWDS]
