"""The pages of Multipath TCP: upload with progress to the picture, one connection in both themes, keyboard alone."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import USER_PASSWORD
from tests.browser.test_pages import LOOKS, assert_fits_and_reads, look
from tests.browser.test_wan import press_until_focused
from tests.browser.watch import WatchedPage, watched_page
from tests.support.mptcp_scene import capture_of, whole
from tests.support.whole_portal import WholePortal

READ_WITHIN_MS = 120_000  # a worker's first capture compiles the decoder


@pytest.fixture(scope="module")
def capture_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A capture of two connections, of three subflows and of one."""
    path = tmp_path_factory.mktemp("captures") / "two connections.pcap"
    path.write_bytes(capture_of([*whole(1, data_count=300), *whole(2, subflow_count=1)]))
    return path


def upload(page: Page, path: Path) -> None:
    """Upload by the form and wait for the capture's page."""
    page.get_by_label("Capture file").set_input_files(path)
    page.get_by_role("button", name="Upload and read").click()
    page.wait_for_url(re.compile(r"/mptcp/captures/\d+/"), timeout=READ_WITHIN_MS)


@pytest.fixture(scope="module")
def capture_url(browser: Browser, portal: WholePortal, capture_path: Path) -> str:
    """The address of a capture that was read, for tests that leave it as it is."""
    with watched_page(browser, portal.url) as watched:
        watched.log_in("admin", portal.password, then="/mptcp/upload/")
        upload(watched.page, capture_path)
        expect(watched.page.locator("#verdict .state")).to_have_text("ready", timeout=READ_WITHIN_MS)
        return watched.page.url


@pytest.fixture
def read_capture(watched: WatchedPage, admin_page: Page, capture_url: str) -> Page:
    """The page of a capture that was read."""
    watched.open(capture_url)
    return admin_page


def test_upload_leads_to_the_picture(admin_page: Page, watched: WatchedPage, capture_path: Path) -> None:
    page = admin_page
    watched.open("/mptcp/upload/")
    upload(page, capture_path)
    expect(page.locator("#verdict .state")).to_have_text("ready", timeout=READ_WITHIN_MS)
    expect(page.get_by_role("heading", level=1)).to_have_text(capture_path.name)
    expect(page.locator("#verdict .verdict-words")).to_contain_text(
        "1 connection with several subflows, 2 in all"
    )
    expect(page.locator("#connections tr")).to_have_count(1)
    picture = page.locator("#picture")
    expect(picture).to_have_attribute("data-traces", "3")
    expect(picture.locator(".scatterlayer .trace")).to_have_count(3)
    expect(page.locator("#picture-legend li")).to_have_count(3)
    expect(page.locator("#report")).to_contain_text("pcap")
    page.get_by_role("button", name="Show more").click()
    expect(page.locator("#connections tr")).to_have_count(2)
    expect(page.locator("#more")).to_be_hidden()


def test_progress_is_shown_and_garbage_is_told(
    admin_page: Page, watched: WatchedPage, tmp_path: Path
) -> None:
    garbage = tmp_path / "notes.pcap"
    garbage.write_text("no capture at all\n" * 1000)
    watched.open("/mptcp/upload/")
    admin_page.get_by_label("Capture file").set_input_files(garbage)
    admin_page.get_by_role("button", name="Upload and read").click()
    expect(admin_page.locator('[data-step="send"] .state')).to_have_text("sent")
    expect(admin_page.get_by_role("alert")).to_contain_text("neither pcap nor pcapng", timeout=READ_WITHIN_MS)
    expect(admin_page.get_by_role("button", name="Upload and read")).to_be_enabled()


def test_file_that_is_too_large_is_told_before_it_is_sent(
    admin_page: Page, watched: WatchedPage, capture_path: Path
) -> None:
    watched.open("/mptcp/upload/")
    admin_page.locator("#upload").evaluate("(form) => { form.dataset.maxBytes = '1000'; }")
    admin_page.get_by_label("Capture file").set_input_files(capture_path)
    admin_page.get_by_role("button", name="Upload and read").click()
    expect(admin_page.get_by_role("alert")).to_contain_text("at most")
    expect(admin_page.locator("#progress")).to_be_hidden()


@pytest.mark.parametrize(("scheme", "width"), LOOKS)
def test_connection_page_reads_in_both_themes_wide_and_narrow(
    read_capture: Page, browser: Browser, portal: WholePortal, scheme: str, width: int
) -> None:
    address = read_capture.locator("#connections a").first.get_attribute("href")
    assert address
    with watched_page(browser, portal.url, **look(scheme, width)) as watched:
        watched.log_in("admin", portal.password, then=address)
        page = watched.page
        expect(page.locator("#subflows tr")).to_have_count(3)
        mark = page.locator("#subflows .series-mark").first.bounding_box()
        assert mark is not None
        assert mark["height"] < 20, "the mark of a subflow is as small as its text"
        expect(page.locator("#evidence tr")).to_have_count(2)
        expect(page.locator("#evidence tr").first).to_contain_text("token of a join")
        expect(page.locator("#picture")).to_have_attribute("data-traces", "3")
        expect(page.locator("#live-status .state")).to_have_text("live")
        assert_fits_and_reads(page, address)
        page.keyboard.press("t")
        assert_fits_and_reads(page, address)
        for path in ("/mptcp/", "/mptcp/upload/", read_capture.url.replace(portal.url.rstrip("/"), "")):
            watched.open(path)
            expect(page.locator("#live-status .state")).to_have_text("live")
            assert_fits_and_reads(page, path)
            page.keyboard.press("t")
            assert_fits_and_reads(page, path)


def test_keyboard_alone_from_list_to_connection_and_its_direction(
    admin_page: Page, watched: WatchedPage, capture_path: Path
) -> None:
    page = admin_page
    watched.open("/mptcp/")
    press_until_focused(page, page.get_by_role("link", name="Upload a capture").first)
    page.keyboard.press("Enter")
    page.wait_for_url("**/mptcp/upload/")
    # The file dialog is the browser's own; what it answers is put in.
    page.get_by_label("Capture file").set_input_files(capture_path)
    press_until_focused(page, page.get_by_role("button", name="Upload and read"))
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"/mptcp/captures/\d+/"), timeout=READ_WITHIN_MS)
    press_until_focused(page, page.locator("#connections a").first)
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"/mptcp/connections/\d+/"))
    expect(page.locator("#picture")).to_have_attribute("data-traces", "3")
    press_until_focused(page, page.get_by_label("Direction"))
    page.keyboard.press("ArrowDown")
    expect(page.locator("#picture")).to_contain_text("No data was seen in this direction")


def test_search_finds_by_address_and_token(read_capture: Page, watched: WatchedPage) -> None:
    page = read_capture
    token = page.locator("#connections .tokens").first.inner_text().split()[0]
    watched.open("/mptcp/")
    expect(page.locator("#live-status .state")).to_have_text("live")
    page.keyboard.press("/")
    search = page.get_by_role("searchbox", name="Address or token")
    expect(search).to_be_focused()
    for text in (token, "10.1.2.2"):
        search.fill(text)
        search.press("Enter")
        expect(page.locator("#connections tr").first).to_contain_text("10.1.1.2")
        expect(page.locator("#shown")).to_contain_text("found")
    search.fill("10.255.0.9")
    search.press("Enter")
    expect(page.locator("#connections-none")).to_be_visible()


def test_block_asks_for_a_reason_and_undo_ends_it(read_capture: Page, watched: WatchedPage) -> None:
    page = read_capture
    page.locator("#connections a").first.click()
    expect(page.locator("#subflows tr")).to_have_count(3)
    page.get_by_role("button", name="Block this connection").click()
    dialog = page.get_by_role("dialog", name="Block this connection?")
    expect(dialog.locator(".confirm-words")).to_contain_text("All 3 subflows")
    dialog.get_by_label("Reason").fill("seen by a test")
    dialog.get_by_role("button", name="Block", exact=True).click()
    expect(dialog).to_be_hidden()
    expect(page.locator("#verdict .state")).to_have_text("blocked")
    row = page.get_by_role("row", name="seen by a test")
    expect(row).to_contain_text("gw-a")
    row.get_by_role("button", name="Undo").click()
    expect(page.locator("#verdict .state")).not_to_have_text("blocked")
    expect(row).to_contain_text("undone")


def test_viewer_may_look_and_not_decide(read_capture: Page, browser: Browser, portal: WholePortal) -> None:
    address = read_capture.locator("#connections a").first.get_attribute("href")
    assert address
    with watched_page(browser, portal.url) as watched:
        watched.log_in("vera", USER_PASSWORD, then=address)
        expect(watched.page.locator("#subflows tr")).to_have_count(3)
        expect(watched.page.locator("#block, #delete")).to_have_count(0)
        watched.open("/mptcp/")
        expect(watched.page.locator("#connections-loading")).to_be_hidden()
        expect(watched.page.get_by_role("link", name="Upload a capture")).to_have_count(0)


def assert_devices_are_read_on_a_phone(page: Page) -> None:
    """At 390 px no table of devices scrolls sideways, and each cell says what it is."""
    before = page.viewport_size
    page.set_viewport_size({"width": 390, "height": 900})
    for name in ("sensors", "collectors"):
        widths = page.locator(f"#{name}-table").evaluate("box => [box.scrollWidth, box.clientWidth]")
        assert widths[0] <= widths[1], f"{name} scroll sideways: {widths}"
    label = page.locator('[data-collector="gw-b"] .losses').evaluate(
        "cell => getComputedStyle(cell, '::before').content"
    )
    assert label == '"dropped, and why"'
    assert_fits_and_reads(page, "/mptcp/ with a collector, on a phone")
    assert before is not None
    page.set_viewport_size(before)


ROLES_OF_GW_B = """
from nfvportal.inventory.models import Device
device = Device.objects.get(name="gw-b")
device.roles = [*(role for role in device.roles if role != "mptcp.collector"), *{}]
device.save()
"""


def test_collector_is_told_whom_to_hear_and_says_why_it_does_not(
    admin_page: Page, watched: WatchedPage, portal: WholePortal
) -> None:
    page = admin_page
    watched.open("/mptcp/")
    expect(page.locator("#collectors-empty")).to_contain_text(
        "Give a device with an agent the role mptcp.collector"
    )
    portal.manage("shell", "--command", ROLES_OF_GW_B.format('["mptcp.collector"]'))
    row = page.locator('[data-collector="gw-b"]')
    expect(row.locator(".state")).to_have_text("hears nobody", timeout=15_000)
    expect(page.locator("#collectors-empty")).to_be_hidden()
    watched.expected.append("status of 400")
    row.get_by_label("networks of gw-b").fill("192.0.2.1, 198.51.100.1/24")
    row.get_by_role("button", name="Set the collector of gw-b").click()
    said = page.locator("#collectors-said")
    expect(said.get_by_role("alert")).to_contain_text("'198.51.100.1/24' is neither")
    row.get_by_label("networks of gw-b").fill("192.0.2.1, 198.51.100.0/24")
    press_until_focused(page, row.get_by_label("IPFIX port of gw-b"))
    page.keyboard.press("Enter")
    expect(said.get_by_role("status")).to_contain_text("2 exporters")
    # This agent was started with other roles; who starts it without a list of roles offers all.
    expect(row.locator(".state")).to_have_text("not listening", timeout=15_000)
    expect(row.locator(".why")).to_contain_text("this agent offers wan.gateway")
    assert_fits_and_reads(page, "/mptcp/ with a collector")
    assert_devices_are_read_on_a_phone(page)
    portal.manage("shell", "--command", ROLES_OF_GW_B.format("[]"))
    expect(page.locator("#collectors-empty")).to_be_visible(timeout=15_000)
