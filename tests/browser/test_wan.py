"""The WAN page on a real lab: fault, alarm, acknowledgement, restore, staleness."""

import contextlib
import os
import signal
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from nfvportal.lab.client import LabClient
from tests.browser.watch import WatchedPage, watched_page
from tests.support.whole_portal import WholePortal

FAILOVER_WITHIN_MS = 10_000
RESTORE_WITHIN_MS = 90_000  # of which the hold-down is 2 s at most: see PATIENCE


@pytest.fixture
def lab(portal: WholePortal) -> Iterator[LabClient]:
    """The portal's lab, with every fault cleared after the test."""
    client = portal.lab()
    yield client
    for link in client.status()["links"]:
        if link["fault"] is not None:
            client.clear(link["name"])


@pytest.fixture
def wan_page(admin_page: Page, watched: WatchedPage, lab: LabClient) -> Page:
    """The WAN page with all links up and carrying measurements."""
    watched.open("/wan/")
    expect(admin_page.locator("#verdict")).to_have_attribute("data-state", "up", timeout=RESTORE_WITHIN_MS)
    return admin_page


def card(page: Page, link: str) -> Locator:
    return page.locator(f'[data-link="{link}"]')


def alarms(page: Page, link: str) -> Locator:
    return page.locator(f'.alarm[data-failover-of="{link}"]')


def rows(page: Page, link: str) -> Locator:
    return page.locator(f'#failovers tr[data-failover-of="{link}"]')


def press_until_focused(page: Page, target: Locator, key: str = "Tab", limit: int = 60) -> None:
    """Reach an element with the keyboard alone."""
    for _ in range(limit):
        if target.evaluate("(element) => element === document.activeElement"):
            return
        page.keyboard.press(key)
    raise AssertionError(f"{key} does not reach {target}")


def test_cards_show_what_an_operator_needs(wan_page: Page) -> None:
    for link, capacity in (("fiber", "5.0 Mbit/s"), ("dsl", "2.0 Mbit/s"), ("lte", "1.0 Mbit/s")):
        expect(card(wan_page, link)).to_contain_text(capacity)
        expect(card(wan_page, link).locator('[data-measure="rtt"]')).to_contain_text("ms")
        expect(card(wan_page, link)).to_have_attribute("data-fresh", "live")
    expect(wan_page.locator(".riding [data-subnet]")).to_have_count(3)
    expect(wan_page.locator("#goodput svg.main-svg").first).to_be_visible()


def test_keyboard_only_fault_acknowledge_restore(
    browser: Browser, portal: WholePortal, lab: LabClient
) -> None:
    with watched_page(browser, portal.url) as watched:
        page = watched.page
        log_in_by_keyboard(watched, portal.password)
        expect(page.locator("#verdict")).to_have_attribute("data-state", "up", timeout=RESTORE_WITHIN_MS)
        page.keyboard.press("1")
        expect(card(page, "fiber")).to_be_focused()
        press_until_focused(page, page.get_by_role("button", name="Black-hole fiber"))
        page.keyboard.press("Enter")
        expect(card(page, "fiber")).to_have_attribute("data-state", "down", timeout=FAILOVER_WITHIN_MS)
        alarm = alarms(page, "fiber").filter(has_text="fiber is down")
        expect(alarm).to_be_visible()
        expect(card(page, "fiber").locator("[data-subnet]")).to_have_count(0)
        page.keyboard.press("k")
        expect(alarm.get_by_role("button")).to_be_focused()
        page.keyboard.press("Enter")
        expect(alarm).to_have_count(0)
        page.keyboard.press("1")
        press_until_focused(page, page.get_by_role("button", name="Restore fiber"))
        page.keyboard.press("Enter")
        expect(card(page, "fiber")).to_have_attribute("data-state", "up", timeout=RESTORE_WITHIN_MS)
        expect(rows(page, "fiber").first).to_contain_text("by admin")


def log_in_by_keyboard(watched: WatchedPage, password: str) -> None:
    watched.open("/login/?next=/wan/")
    page = watched.page
    press_until_focused(page, page.get_by_label("Username"))
    page.keyboard.type("admin")
    page.keyboard.press("Tab")
    page.keyboard.type(password)
    page.keyboard.press("Enter")
    page.wait_for_url("**/wan/")


def test_alarm_stays_after_the_link_is_back(wan_page: Page, lab: LabClient) -> None:
    lab.fault("dsl", "blackhole")
    expect(alarms(wan_page, "dsl").filter(has_text="dsl is down")).to_be_visible(timeout=FAILOVER_WITHIN_MS)
    number = alarms(wan_page, "dsl").filter(has_text="dsl is down").get_attribute("data-failover")
    alarm = wan_page.locator(f'.alarm[data-failover="{number}"]')
    lab.clear("dsl")
    expect(card(wan_page, "dsl")).to_have_attribute("data-state", "up", timeout=RESTORE_WITHIN_MS)
    expect(alarm).to_contain_text("back at")
    wan_page.reload()
    expect(alarm).to_be_visible()
    alarm.get_by_role("button", name="Acknowledge failover of dsl").click()
    expect(alarm).to_have_count(0)


def test_failover_table_has_the_parts(wan_page: Page, lab: LabClient) -> None:
    before = rows(wan_page, "fiber").count()
    lab.fault("fiber", "blackhole")
    expect(rows(wan_page, "fiber")).to_have_count(before + 1, timeout=FAILOVER_WITHIN_MS)
    row = rows(wan_page, "fiber").first
    expect(row.locator("td.figure").nth(0)).to_contain_text("ms")
    expect(row.locator("td.figure").nth(3)).to_contain_text("ms", timeout=FAILOVER_WITHIN_MS)
    expect(wan_page.locator("#failover-chart svg.main-svg").first).to_be_visible()


def test_page_says_stale_while_the_web_process_is_gone(
    wan_page: Page, watched: WatchedPage, portal: WholePortal
) -> None:
    """The supervisor starts it again; the page finds back by itself."""
    watched.expected += ["WebSocket connection", "Failed to load resource", "ERR_"]
    status = wan_page.locator("#live-status .state")
    expect(status).to_have_text("live")
    os.kill(portal.instance()["pids"]["web"], signal.SIGKILL)
    expect(status).to_contain_text("stale since", timeout=30_000)
    expect(card(wan_page, "fiber")).to_have_attribute("data-fresh", "stale")
    expect(status).to_have_text("live", timeout=60_000)
    expect(card(wan_page, "fiber")).to_have_attribute("data-fresh", "live", timeout=30_000)


def test_page_says_stale_when_the_web_process_hangs(
    wan_page: Page, watched: WatchedPage, portal: WholePortal
) -> None:
    """An open socket without a word is not live."""
    watched.expected += ["WebSocket connection", "Failed to load resource", "ERR_"]
    status = wan_page.locator("#live-status .state")
    expect(status).to_have_text("live")
    web = portal.instance()["pids"]["web"]
    os.kill(web, signal.SIGSTOP)
    try:
        expect(status).to_contain_text("stale since", timeout=30_000)
        expect(card(wan_page, "fiber").locator(".stale-note")).to_contain_text("Stale")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(web, signal.SIGCONT)
    expect(status).to_have_text("live", timeout=60_000)


def test_hung_agent_is_marked_and_comes_back(wan_page: Page, lab: LabClient) -> None:
    agents = {node["name"]: node["agent"] for node in lab.status()["nodes"]}
    pid = str(agents["gw-a"]["pid"])
    lab.exec("gw-a", ["kill", "-STOP", pid])
    try:
        expect(card(wan_page, "fiber")).to_have_attribute("data-fresh", "stale", timeout=20_000)
        expect(card(wan_page, "fiber").locator(".state")).to_contain_text("was")
        expect(card(wan_page, "fiber").locator(".stale-note")).to_contain_text("No measurement")
        expect(wan_page.locator("#live-status .state")).to_have_text("live")
    finally:
        lab.exec("gw-a", ["kill", "-CONT", pid])
    expect(card(wan_page, "fiber")).to_have_attribute("data-fresh", "live", timeout=30_000)
    expect(wan_page.locator('[data-agent="gw-a"]')).to_have_count(0, timeout=30_000)
