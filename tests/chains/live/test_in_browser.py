"""A chain on real servers, by the browser alone: drawn, planned, applied, watched, traced, re-planned, rolled back."""

import re
import sys
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from nfvportal.lab.client import LabClient
from tests.browser.conftest import USER_PASSWORD
from tests.browser.test_chains import ANSWER_MS, DRAWN, call, drawn
from tests.browser.test_pages import assert_fits_and_reads
from tests.browser.test_wan import press_until_focused
from tests.browser.watch import WatchedPage, watched_page
from tests.support.whole_portal import WholePortal

JOB_MS = 120_000
MEASURED_MS = 30_000
SETTINGS = {
    "firewall": '{"default": "allow"}',
    "vpn": '{"key": "only a key of a test"}',
    "load-balancer": '{"vip": "10.9.0.99", "backends": [{"address": "10.9.0.20"}]}',
}
# What a network function cannot be asked for, a plain sender gives: 100 datagrams a second until it is ended.
SENDER = """
import socket, time
link = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
while True:
    link.sendto(bytes(400), ("10.9.0.20", 9))
    time.sleep(0.01)
"""
START = '"$@" >/dev/null 2>&1 </dev/null & echo $!'


@pytest.fixture(scope="module", autouse=True)
def sender(lab: LabClient) -> Iterator[None]:
    """Packets on their way from generator to sink."""
    started = lab.exec("dc-generator", ["sh", "-c", START, "sh", sys.executable, "-c", SENDER])
    yield
    lab.exec("dc-generator", ["kill", started["stdout"].strip()])


@pytest.fixture
def live_chain(admin_page: Page, watched: WatchedPage) -> Iterator[str]:
    """The name of a chain that is taken off the devices and deleted after the test."""
    name = "drawn-live"
    yield name
    watched.open(f"/chains/{name}/")
    remove = operation(admin_page, "remove")
    expect(admin_page.locator("#chain")).to_have_attribute("data-loaded", "true")
    if remove.is_enabled():
        remove.click()
        admin_page.get_by_role("button", name="Take it off").click()
        job_ends(admin_page, "Take off the devices")
        expect(admin_page.locator("#live")).to_be_hidden()
    call(admin_page, "DELETE", f"chains/{name}/", headers={"If-Match": "*"})


def operation(page: Page, name: str) -> Locator:
    return page.locator(f'[data-operation="{name}"]')


def job_ends(page: Page, words: str) -> None:
    """Wait until the job that these words name has succeeded."""
    chip = page.locator("#job-line .state")
    expect(chip).to_have_text(re.compile(f"{words}.*: (succeeded|failed|cancelled|not done)"), timeout=JOB_MS)
    assert "succeeded" in chip.inner_text(), page.locator("#job-line").inner_text()


def draw(page: Page, name: str, rate: str) -> None:
    """Draw VPN, monitor, firewall, load balancer with their settings and save."""
    for type_ in ("vpn", "monitor", "firewall", "load_balancer"):
        page.locator(f'.palette-item[data-type="{type_}"]').get_by_role("button").click()
    for nf, params in SETTINGS.items():
        page.locator(f'#strip .nf-card[data-nf="{nf}"] .nf-main').click()
        page.get_by_label("Parameters (JSON)").fill(params)
    page.get_by_role("textbox", name="Name", exact=True).fill(name)
    page.get_by_label("Rate, packets/s").fill(rate)
    page.get_by_label("p99 latency target, ms").fill("500")
    page.locator("#save").click()
    page.wait_for_url(f"**/chains/{name}/")
    drawn(page, "vpn", "monitor", "firewall", "load-balancer")


def plan_and_apply(page: Page) -> None:
    operation(page, "plan").click()
    job_ends(page, "Plan")
    expect(page.locator('[data-planned="plan"]')).to_be_visible()
    operation(page, "apply").click()
    page.get_by_role("dialog", name="Apply this plan?").get_by_role("button", name="Apply").click()
    job_ends(page, "Apply plan")


def newest_plans(page: Page) -> tuple[Locator, Locator]:
    """The boxes that choose the live plan and the one below it; drift may bring another plan at any time."""
    box = (
        page.locator("#plans tr")
        .filter(has=page.locator('.state[data-state="up"]'))
        .locator("[data-compare]")
    )
    live = int(box.get_attribute("data-compare") or 0)
    ids = [int(each.get_attribute("data-compare") or 0) for each in page.locator("[data-compare]").all()]
    one, other = (
        page.locator(f'[data-compare="{id_}"]') for id_ in (live, max(id_ for id_ in ids if id_ < live))
    )
    return one, other


def epoch(page: Page) -> int:
    found = re.search(r"epoch (\d+)", page.locator("#verdict .verdict-words").inner_text())
    assert found
    return int(found[1])


def test_the_hybrid_chain_and_its_latency_show_at_once(admin_page: Page, watched: WatchedPage) -> None:
    board = admin_page
    watched.open("/chains/new/")
    for type_ in DRAWN:
        board.locator(f'.palette-item[data-type="{type_}"]').get_by_role("button").click()
    board.get_by_label("Rate, packets/s").fill("200")
    panel = board.locator("#proposal")
    expect(panel).to_have_attribute("data-advice", "fresh", timeout=ANSWER_MS)
    expect(panel.locator('[data-figure="p99"] .big')).to_contain_text(re.compile(r"µs|ms"))
    expect(panel.locator(".formula")).to_contain_text("vpn")
    expect(panel.locator(".graph")).to_have_attribute("data-nodes", re.compile(r"\d+"))
    graph = panel.get_by_role("group", name=re.compile("Hybrid chain: vpn"))
    graph.focus()
    board.keyboard.press("ArrowRight")
    expect(panel.locator(".graph-told")).to_contain_text("Packets come in")
    board.keyboard.press("ArrowRight")
    expect(panel.locator(".graph-told")).to_contain_text(re.compile("vpn on |Mirror on "))
    board.get_by_label("p99 latency target, ms").fill("0.01")
    expect(panel).to_have_attribute("data-answer", "infeasible", timeout=ANSWER_MS)
    expect(panel.locator("[data-infeasible]")).to_contain_text("No plan is fast enough")


def test_drawn_planned_applied_traced_replanned_rolled_back(
    browser: Browser, portal: WholePortal, admin_page: Page, watched: WatchedPage, live_chain: str
) -> None:
    page = admin_page
    watched.open("/chains/new/")
    draw(page, live_chain, "100")
    plan_and_apply(page)
    verdict = page.locator("#verdict")
    expect(verdict).to_have_attribute("data-state", "up", timeout=MEASURED_MS)
    first = epoch(page)
    hops = page.locator("#hops tr")
    for name in ("vpn", "monitor", "firewall", "load-balancer"):
        expect(hops.filter(has_text=name).locator('[data-counter="out"]')).to_have_text(re.compile("[1-9]"))
    expect(page.locator('[data-measured="p99"]')).to_contain_text(re.compile("µs|ms"))
    expect(page.locator("#spread svg.main-svg").first).to_be_visible()
    expect(page.locator("#branches svg.main-svg").first).to_be_visible()
    expect(page.locator("#histograms svg.main-svg").first).to_be_visible()
    histograms = page.locator("#histograms-table tbody tr")
    expect(histograms.filter(has_text="firewall")).to_contain_text(re.compile("[1-9]"))
    expect(page.locator('[data-device="dc-classifier"]')).to_contain_text("applied")

    operation(page, "trace").click()
    job_ends(page, "Trace one packet")
    rows = page.locator("#trace tbody tr")
    for name in ("vpn", "monitor", "firewall", "load-balancer"):
        expect(rows.filter(has_text=name)).to_have_count(1)
    expect(page.locator("#live-graph")).to_have_attribute("data-path", re.compile("ingress.*nf-0.*egress"))

    page.get_by_label("Rate, packets/s").fill("150")
    expect(operation(page, "plan")).to_have_text("Save and plan")
    plan_and_apply(page)
    expect(verdict).to_contain_text(f"epoch {first + 1}")
    expect(verdict).to_have_attribute("data-state", "up", timeout=MEASURED_MS)
    expect(page.locator("#measured")).to_contain_text("150 packets/s")
    live, older = newest_plans(page)
    older.check()
    live.check()
    page.locator("#compare").click()
    expect(page.locator(".plan-diff")).to_contain_text("predicted p99")

    press_until_focused(page, operation(page, "rollback"), key="Shift+Tab", limit=200)
    page.keyboard.press("Enter")
    job_ends(page, "Roll back")
    expect(verdict).to_contain_text(f"epoch {first + 2}")
    expect(page.locator("#measured")).to_contain_text("100 packets/s")

    with watched_page(browser, portal.url, viewport={"width": 390, "height": 844}) as viewer:
        viewer.log_in("vera", USER_PASSWORD, then=f"/chains/{live_chain}/")
        expect(viewer.page.locator("#verdict")).to_have_attribute("data-state", "up", timeout=MEASURED_MS)
        expect(viewer.page.locator("[data-operation]")).to_have_count(0)
        assert_fits_and_reads(viewer.page, "live, narrow")
        viewer.open("/chains/")
        row = viewer.page.locator(f'[data-chain="{live_chain}"]')
        expect(row).to_contain_text("within 500 ms", timeout=MEASURED_MS)
        expect(row).to_contain_text("packets/s")


def type_into(page: Page, field: Locator, text: str) -> None:
    """Reach a field with Tab and replace what it says."""
    press_until_focused(page, field, limit=200)
    page.keyboard.press("Control+A")
    page.keyboard.type(text)


def press(page: Page, button: Locator, key: str = "Shift+Tab") -> None:
    """Reach a button with the keyboard and press it."""
    expect(button).to_be_enabled()
    press_until_focused(page, button, key=key, limit=200)
    page.keyboard.press("Enter")


def plan_and_apply_by_keyboard(page: Page) -> None:
    press(page, operation(page, "plan"))
    job_ends(page, "Plan")
    press(page, operation(page, "apply"), key="Tab")
    press(page, page.get_by_role("dialog").get_by_role("button", name="Apply"), key="Tab")
    job_ends(page, "Apply plan")


def test_keyboard_only_from_drawing_to_roll_back(
    admin_page: Page, watched: WatchedPage, live_chain: str
) -> None:
    page = admin_page
    watched.open("/chains/new/")
    expect(page.locator('.palette-item[data-type="monitor"]')).to_be_visible()
    search = page.get_by_role("searchbox", name="Network functions")
    for words in ("flow mon", "vpn"):
        type_into(page, search, words)
        page.keyboard.press("Enter")
    drawn(page, "monitor", "vpn")
    press_until_focused(page, page.locator('#strip [data-nf="vpn"] .nf-main'))
    page.keyboard.press("Alt+ArrowLeft")
    drawn(page, "vpn", "monitor")
    type_into(page, page.get_by_role("textbox", name="Name", exact=True), live_chain)
    type_into(page, page.get_by_label("Rate, packets/s"), "100")
    press(page, page.locator('#strip [data-nf="vpn"] .nf-main'))
    type_into(page, page.get_by_label("Parameters (JSON)"), SETTINGS["vpn"])
    page.keyboard.press("Control+s")
    page.wait_for_url(f"**/chains/{live_chain}/")
    plan_and_apply_by_keyboard(page)
    verdict = page.locator("#verdict")
    expect(verdict).to_have_attribute("data-state", "up", timeout=MEASURED_MS)
    first = epoch(page)
    press(page, operation(page, "trace"), key="Tab")
    job_ends(page, "Trace one packet")
    expect(page.locator("#trace tbody tr").filter(has_text="vpn")).to_have_count(1)
    type_into(page, page.get_by_label("Rate, packets/s"), "120")
    plan_and_apply_by_keyboard(page)
    expect(verdict).to_contain_text(f"epoch {first + 1}")
    press(page, operation(page, "rollback"))
    job_ends(page, "Roll back")
    expect(verdict).to_contain_text(f"epoch {first + 2}")


def test_a_lost_connection_makes_the_list_stale(
    admin_page: Page, watched: WatchedPage, portal: WholePortal
) -> None:
    """What is old says so; nothing looks live that is not."""
    watched.expected += ["WebSocket connection", "Failed to load resource", "ERR_"]
    watched.open("/chains/")
    expect(admin_page.locator("#live-status .state")).to_have_text("live")
    admin_page.context.set_offline(True)
    expect(admin_page.locator("#live-status .state")).to_contain_text("stale since", timeout=30_000)
    expect(admin_page.locator("#verdict .state")).to_have_text("stale")
    admin_page.context.set_offline(False)
    expect(admin_page.locator("#live-status .state")).to_have_text("live", timeout=60_000)
