"""The page of placements: started by an operator, read by all, again without moving anything."""

import re
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import USER_PASSWORD
from tests.browser.test_chains import chain
from tests.browser.test_pages import assert_fits_and_reads
from tests.browser.watch import WatchedPage, watched_page
from tests.support.whole_portal import WholePortal

__all__ = ["chain"]  # the fixture

JOB_MS = 60_000


SERVERS = """
from nfvportal.inventory.models import Device, Site
for number in (1, 2):
    Device.objects.create(
        name=f"place-server-{number}", site=Site.objects.first(), kind="server", roles=["chains.server"],
        capabilities={"cores": 4},
    )
"""
NO_SERVERS = """
from nfvportal.inventory.models import Device
Device.objects.filter(name__startswith="place-server-").delete()
"""


@pytest.fixture
def servers(portal: WholePortal) -> Iterator[None]:
    """Two servers in the inventory; a placement is advice, so nothing needs to run on them."""
    portal.manage("shell", "--command", SERVERS)
    yield
    portal.manage("shell", "--command", NO_SERVERS)


def verdict(page: Page) -> str:
    return page.locator("#verdict .verdict-words").inner_text()


def test_a_placement_is_started_read_and_made_again(
    servers: None, admin_page: Page, watched: WatchedPage, chain: Callable[..., str]
) -> None:
    for name in ("place-one", "place-two"):
        chain(name, "monitor", "firewall", slo_p99_ms=50)
    chain("place-three", "ids", slo_p99_ms=0.2)
    watched.open("/chains/")
    admin_page.get_by_role("link", name="Placement of all chains").click()
    expect(admin_page.locator("#verdict .state")).to_have_text("nothing placed")
    admin_page.locator("#instance-cores").fill("0.1")
    admin_page.locator("#place").focus()
    admin_page.keyboard.press("Enter")
    expect(admin_page.locator("#verdict")).not_to_have_attribute("data-state", "unknown", timeout=JOB_MS)
    expect(admin_page.locator("#verdict")).to_have_attribute("data-state", "degraded")
    expect(admin_page.locator('#job [data-job-state="succeeded"]')).to_be_visible(timeout=JOB_MS)
    refused = admin_page.locator('#refused tr[data-chain="place-three"]')
    expect(refused).to_contain_text("Even on idle instances it takes up to")
    placed = admin_page.locator('#placed tr[data-chain="place-one"]')
    expect(placed).to_contain_text("50.00 ms")
    placed.locator("summary").click()
    expect(placed.locator("li").first).to_contain_text("monitor")
    expect(admin_page.locator("#servers progress").first).to_be_visible()
    expect(admin_page.locator("#terms tr")).to_have_count(4)
    assert_fits_and_reads(admin_page, "/chains/placement/")
    admin_page.locator("#place").click()
    expect(admin_page.locator("#older tr")).to_have_count(2, timeout=JOB_MS)
    expect(admin_page.locator("#verdict .verdict-words")).to_contain_text(
        re.compile(r" 0 of [\d\u202f]+ flow buckets moved")
    )


def test_a_viewer_reads_but_does_not_start(browser: Browser, portal: WholePortal) -> None:
    with watched_page(browser, portal.url) as watched:
        watched.log_in("vera", USER_PASSWORD, then="/chains/placement/")
        expect(watched.page.locator("#verdict .state")).not_to_have_text("loading")
        expect(watched.page.locator("#place")).to_have_count(0)
        assert verdict(watched.page)
