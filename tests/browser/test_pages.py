"""Every page, light and dark, narrow and wide: no complaint, nothing cut off, readable."""

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import USER_PASSWORD
from tests.browser.watch import LIGHTEST, WatchedPage, watched_page
from tests.support.whole_portal import WholePortal

CONTRAST = (Path(__file__).parent / "contrast.js").read_text()
LIVE_PAGES = {"/": "Overview", "/wan/": "WAN", "/chains/": "Chains", "/mptcp/": "MPTCP", "/jobs/": "Jobs"}
PAGES = {
    **LIVE_PAGES,
    "/tokens/": "API tokens",
    "/audit/": "Audit log",
    "/mptcp/upload/": "Upload a capture",
    "/mptcp/accuracy/": "Accuracy",
    "/cluster/": "Cluster",
}
LOOKS = [
    ("light", 1400),
    ("dark", 360),
]  # as loaded; on the spot each is then seen in the other theme as well
OTHER = {"light": "dark", "dark": "light"}


def assert_fits_and_reads(page: Page, path: str) -> None:
    """The page does not scroll sideways and every text meets WCAG AA."""
    width = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert width[0] <= width[1], f"{path} scrolls sideways: {width}"
    assert page.evaluate(CONTRAST) == [], path


def look(scheme: str, width: int) -> dict[str, Any]:
    """Return the options of a page; without motion, because a colour that is still changing is neither theme's."""
    return {"color_scheme": scheme, "viewport": {"width": width, "height": 900}, "reduced_motion": "reduce"}


def assert_both_themes(page: Page, path: str, loaded: str) -> None:
    """The page fits and reads as it was loaded, and in the other theme."""
    for scheme in (loaded, OTHER[loaded]):
        page.emulate_media(color_scheme=scheme)
        assert_fits_and_reads(page, f"{path}, loaded in {loaded}, seen in {scheme}")
    page.emulate_media(color_scheme=loaded)


@pytest.mark.parametrize(("scheme", "width"), LOOKS)
def test_pages_fit_and_read(browser: Browser, portal: WholePortal, scheme: str, width: int) -> None:
    with watched_page(browser, portal.url, **look(scheme, width)) as watched:
        watched.open("/login/")
        assert_both_themes(watched.page, "/login/", scheme)
        watched.log_in("admin", portal.password)
        for path, title in PAGES.items():
            watched.open(path)
            expect(watched.page.get_by_role("heading", level=1)).to_contain_text(title)
            expect(watched.page).to_have_title(f"{title} · nfvportal")
            if path in LIVE_PAGES:
                expect(watched.page.locator("#live-status .state")).to_have_text("live")
            assert_both_themes(watched.page, path, scheme)


def test_pages_of_others_load_without_complaint(admin_page: Page, watched: WatchedPage) -> None:
    for path in ("/api/docs/", "/admin/"):
        answer = admin_page.goto(watched.base_url.rstrip("/") + path, wait_until="networkidle")
        assert answer is not None
        assert answer.status == 200, path


def test_unknown_address_says_so(admin_page: Page, watched: WatchedPage) -> None:
    watched.expected.append("status of 404")
    watched.open("/nowhere/")
    expect(admin_page.get_by_role("heading", level=1)).to_have_text("Nothing here")


def test_viewer_sees_no_control(watched: WatchedPage) -> None:
    watched.log_in("vera", USER_PASSWORD, then="/wan/")
    expect(watched.page.locator("[data-link]").first).to_be_visible()
    expect(watched.page.locator("[data-fault], [data-acknowledge]")).to_have_count(0)
    watched.expected.append("status of 403")
    watched.open("/audit/")
    expect(watched.page.get_by_role("heading", level=1)).to_have_text("Not allowed")


def test_wrong_password_is_refused_in_words(watched: WatchedPage) -> None:
    watched.open("/login/")
    watched.page.get_by_label("Username").fill("vera")
    watched.page.get_by_label("Password").fill("wrong-password")
    watched.page.get_by_role("button", name="Log in").click()
    expect(watched.page.get_by_role("alert")).to_contain_text("correct username and password")


def test_theme_choice_is_kept(admin_page: Page, watched: WatchedPage) -> None:
    watched.open(LIGHTEST)
    before = admin_page.evaluate("getComputedStyle(document.body).color")
    admin_page.keyboard.press("t")
    chosen = admin_page.evaluate("document.documentElement.dataset.theme")
    assert chosen in {"light", "dark"}
    admin_page.reload()
    assert admin_page.evaluate("document.documentElement.dataset.theme") == chosen
    assert admin_page.evaluate("getComputedStyle(document.body).color") != before


def test_shortcuts_go_and_can_be_switched_off(admin_page: Page, watched: WatchedPage) -> None:
    watched.open(LIGHTEST)
    admin_page.keyboard.press("g")
    admin_page.keyboard.press("j")
    admin_page.wait_for_url("**/jobs/")
    admin_page.keyboard.press("?")
    dialog = admin_page.get_by_role("dialog", name="Keyboard shortcuts")
    expect(dialog).to_be_visible()
    dialog.get_by_label("Shortcuts are on").uncheck()
    admin_page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    admin_page.keyboard.press("?")
    expect(dialog).to_be_hidden()


def test_first_tab_skips_to_the_content(admin_page: Page, watched: WatchedPage) -> None:
    watched.open(LIGHTEST)
    admin_page.keyboard.press("Tab")
    expect(admin_page.get_by_role("link", name="Skip to content")).to_be_focused()
    admin_page.keyboard.press("Enter")
    expect(admin_page.locator("#main")).to_be_focused()


def test_token_is_shown_once_and_revoked(admin_page: Page, watched: WatchedPage) -> None:
    watched.open("/tokens/")
    admin_page.get_by_label("Name").fill("browser test")
    admin_page.get_by_role("button", name="Create token").click()
    expect(admin_page.locator("#new-token")).to_contain_text("nfv_api_")
    watched.open("/tokens/")
    expect(admin_page.locator("#new-token")).to_have_count(0)
    admin_page.get_by_role("button", name="Revoke browser test").click()
    expect(admin_page.get_by_role("row", name="browser test")).to_contain_text("revoked")
