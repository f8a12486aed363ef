"""The drawing board of chains: drawn by drag and by keyboard, undone, saved, merged; catalogue, import, roles."""

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urljoin

import pytest
from playwright.sync_api import Browser, Dialog, Locator, Page, expect

from tests.browser.conftest import USER_PASSWORD
from tests.browser.test_pages import assert_both_themes, look
from tests.browser.test_wan import press_until_focused
from tests.browser.watch import WatchedPage, watched_page
from tests.support.whole_portal import WholePortal

API = "/api/v1/chains/"
DRAWN = ["vpn", "monitor", "firewall", "load_balancer"]
ANSWER_MS = 20_000


def call(page: Page, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Any:
    """Call REST with the page's session; the page itself does not notice."""
    cookies = page.context.cookies()
    token = next(cookie["value"] for cookie in cookies if cookie["name"].startswith("nfvportal_csrf"))
    answer = page.request.fetch(
        API + path, method=method, data=body, headers={"X-CSRFToken": token, **(headers or {})}
    )
    assert answer.ok, answer.text()
    return answer.json() if answer.body() else None


def chain_body(name: str, types: list[str], **fields: Any) -> dict[str, Any]:
    nfs = [{"name": type_.replace("_", "-"), "type": type_} for type_ in types]
    return {"name": name, "title": name, "nfs": nfs, "rate_pps": 200, **fields}


@pytest.fixture
def chain(admin_page: Page) -> Iterator[Callable[..., str]]:
    """Makes chains through REST and deletes them after the test."""
    made: list[str] = []

    def make(name: str, *types: str, **fields: Any) -> str:
        call(admin_page, "POST", "chains/", chain_body(name, list(types), **fields))
        made.append(name)
        return name

    yield make
    for name in made:
        call(admin_page, "DELETE", f"chains/{name}/", headers={"If-Match": "*"})


@pytest.fixture
def board(admin_page: Page, watched: WatchedPage) -> Page:
    """An empty drawing board with its palette."""
    watched.open("/chains/new/")
    expect(admin_page.locator('.palette-item[data-type="vpn"]')).to_be_visible()
    return admin_page


def cards(page: Page) -> Locator:
    return page.locator("#strip .nf-card")


def drawn(page: Page, *names: str) -> None:
    """Expect these network functions in this order."""
    expect(cards(page).locator("strong")).to_have_text(list(names))


def drag(page: Page, source: Locator, target: Locator, *, x_ratio: float = 0.5) -> None:
    """Drag with the mouse, as a hand does: in steps."""
    source.scroll_into_view_if_needed()
    start, end = source.bounding_box(), target.bounding_box()
    assert start is not None
    assert end is not None
    page.mouse.move(start["x"] + 30, start["y"] + start["height"] / 2)
    page.mouse.down()
    page.mouse.move(start["x"] + 45, start["y"] + start["height"] / 2 + 5)
    page.mouse.move(end["x"] + end["width"] * x_ratio, end["y"] + end["height"] / 2, steps=8)
    page.mouse.up()


def pair(page: Page, first: int, second: int) -> Locator:
    return page.locator(f'.pair-cell[data-pair="{first}-{second}"]')


def test_a_chain_is_drawn_by_drag(board: Page) -> None:
    for number, type_ in enumerate(["vpn", "firewall", "load_balancer"]):
        drag(
            board, board.locator(f'.palette-item[data-type="{type_}"]'), board.locator("#strip"), x_ratio=0.97
        )
        expect(cards(board)).to_have_count(number + 1)
    drawn(board, "vpn", "firewall", "load-balancer")
    drag(board, board.locator('.palette-item[data-type="monitor"]'), cards(board).nth(1), x_ratio=0.1)
    drawn(board, "vpn", "monitor", "firewall", "load-balancer")
    drag(board, cards(board).nth(3).locator(".nf-main"), cards(board).nth(0), x_ratio=0.1)
    drawn(board, "load-balancer", "vpn", "monitor", "firewall")
    expect(board.locator("#nf-settings")).to_be_hidden()


def test_a_drag_beside_the_board_changes_nothing(board: Page) -> None:
    drag(board, board.locator('.palette-item[data-type="vpn"]'), board.locator("#pairs-title"))
    expect(cards(board)).to_have_count(0)
    expect(board.locator("#undo")).to_be_disabled()


def test_keyboard_only_draw_move_remove_undo_and_save(
    board: Page, chain: Callable[..., str], watched: WatchedPage
) -> None:
    search = board.get_by_role("searchbox", name="Network functions")
    press_until_focused(board, search)
    for words in ("vpn", "load", "flow mon"):
        board.keyboard.press("Control+A")
        board.keyboard.type(words)
        board.keyboard.press("Enter")
    board.keyboard.press("Control+A")
    board.keyboard.press("Delete")
    press_until_focused(board, board.get_by_role("button", name="Add Firewall", exact=True))
    board.keyboard.press("Enter")
    drawn(board, "vpn", "load-balancer", "monitor", "firewall")
    press_until_focused(board, cards(board).nth(1).locator(".nf-main"))
    board.keyboard.press("Alt+ArrowRight")
    board.keyboard.press("Alt+ArrowRight")
    drawn(board, "vpn", "monitor", "firewall", "load-balancer")
    expect(cards(board).nth(3).locator(".nf-main")).to_be_focused()
    board.keyboard.press("ArrowLeft")
    board.keyboard.press("Delete")
    drawn(board, "vpn", "monitor", "load-balancer")
    board.keyboard.press("Control+z")
    drawn(board, "vpn", "monitor", "firewall", "load-balancer")
    board.keyboard.press("Control+Shift+Z")
    drawn(board, "vpn", "monitor", "load-balancer")
    board.keyboard.press("Control+z")
    press_until_focused(board, board.get_by_role("textbox", name="Name", exact=True))
    board.keyboard.type("by-keyboard")
    press_until_focused(board, board.get_by_label("Rate, packets/s"))
    board.keyboard.press("Control+A")
    board.keyboard.type("300")
    board.keyboard.press("Control+s")
    board.wait_for_url("**/chains/by-keyboard/")
    drawn(board, "vpn", "monitor", "firewall", "load-balancer")
    expect(board.get_by_label("Rate, packets/s")).to_have_value("300")
    call(board, "DELETE", "chains/by-keyboard/", headers={"If-Match": "*"})


def test_pairs_say_why_at_once(board: Page) -> None:
    for type_ in DRAWN:
        board.locator(f'.palette-item[data-type="{type_}"]').get_by_role("button").click()
    expect(board.locator(".pair-cell")).to_have_count(6)
    expect(pair(board, 1, 2)).to_have_attribute("data-kind", "ok")
    expect(pair(board, 0, 1)).to_have_attribute("data-kind", "no")
    expect(pair(board, 0, 1)).to_contain_text("in order")
    pair(board, 0, 1).focus()
    expect(board.locator(".pair-told")).to_contain_text("vpn then monitor: in order. vpn adds or removes")
    rows = board.get_by_role("region", name="Reasons as a table").locator("tbody tr")
    expect(rows).to_have_count(6)
    expect(rows.nth(3)).to_contain_text("monitor → firewall")


def test_no_server_at_hand_is_said_plainly(board: Page) -> None:
    """This portal knows no server; the pairs are decided all the same."""
    for type_ in DRAWN[:2]:
        board.locator(f'.palette-item[data-type="{type_}"]').get_by_role("button").click()
    panel = board.locator("#proposal")
    expect(panel).to_have_attribute("data-answer", "infeasible", timeout=ANSWER_MS)
    expect(panel.locator('[data-infeasible="capacity"]')).to_contain_text("no server is at hand")
    expect(board.locator(".pair-cell")).to_have_count(1)


def test_settings_are_checked_where_they_are_typed(board: Page, watched: WatchedPage) -> None:
    watched.expected.append("status of 400")
    board.locator('.palette-item[data-type="firewall"]').get_by_role("button").click()
    cards(board).first.locator(".nf-main").click()
    params = board.get_by_label("Parameters (JSON)")
    params.fill('{"rules": [')
    expect(board.locator('[data-field="nfs[0].params"] .field-error')).to_contain_text("not JSON")
    expect(board.locator("#save")).to_be_disabled()
    params.fill('{"no_such_setting": 1}')
    board.get_by_role("textbox", name="Name", exact=True).fill("never-saved")
    board.locator("#save").click()
    expect(board.locator('[data-problem="nfs[0].params.no_such_setting"]')).to_contain_text("known: default")
    expect(board.locator("#editor-notice")).to_contain_text("Your changes are still here")
    params.fill("{}")
    expect(board.locator('[data-problem^="nfs[0]"]')).to_have_count(0)
    board.get_by_label("Own service time instead of the catalogue's").check()
    mean = board.get_by_label("Service time, mean, µs")
    mean.fill("55")
    expect(cards(board).first).to_contain_text("55.0 µs (own)")
    board.locator("#undo").click()
    expect(mean).to_have_value("20")
    board.locator("#redo").click()
    expect(mean).to_have_value("55")


def test_two_operators_get_the_merge_view(
    browser: Browser, portal: WholePortal, watched: WatchedPage, admin_page: Page, chain: Callable[..., str]
) -> None:
    name = chain("both-draw", "vpn", "monitor", slo_p99_ms=20)
    watched.expected.append("status of 412")
    watched.open(f"/chains/{name}/")
    drawn(admin_page, "vpn", "monitor")
    admin_page.get_by_label("Rate, packets/s").fill("333")
    admin_page.get_by_label("p99 latency target, ms").fill("5")
    with watched_page(browser, portal.url) as other:
        other.log_in("otto", USER_PASSWORD, then=f"/chains/{name}/")
        drawn(other.page, "vpn", "monitor")
        other.page.get_by_label("p99 latency target, ms").fill("7")
        other.page.locator('.palette-item[data-type="firewall"]').get_by_role("button").click()
        other.page.locator("#save").click()
        expect(other.page.locator("#save-state")).to_have_text("saved, version 2")
        expect(admin_page.locator("#editor-notice")).to_contain_text("otto saved version 2")
        admin_page.locator("#save").click()
        dialog = admin_page.get_by_role("dialog", name="Two of you changed this chain")
        expect(dialog).to_contain_text("otto saved version 2 while you were drawing")
        row = dialog.locator('[data-field="slo_p99_ms"]')
        expect(row).to_have_attribute("data-conflict", "true")
        expect(row.locator("td")).to_have_text(["20", "p99 target, ms: mine: 5", "p99 target, ms: theirs: 7"])
        expect(dialog.locator('[data-field="rate_pps"] input[value="mine"]')).to_be_checked()
        expect(dialog.locator('[data-field="nf:firewall"] input[value="theirs"]')).to_be_checked()
        save = dialog.get_by_role("button", name="Save the merged chain")
        expect(save).to_be_disabled()
        row.get_by_role("radio").first.check()
        save.click()
        expect(admin_page.locator("#save-state")).to_have_text("saved, version 3")
        drawn(admin_page, "vpn", "monitor", "firewall")
        expect(other.page.get_by_label("Rate, packets/s")).to_have_value("333")
        expect(other.page.get_by_label("p99 latency target, ms")).to_have_value("5")
    admin_page.keyboard.press("Control+z")
    drawn(admin_page, "vpn", "monitor")


def test_a_refused_merge_loses_nothing(
    watched: WatchedPage, admin_page: Page, chain: Callable[..., str]
) -> None:
    name = chain("keeps-mine", "vpn", "monitor")
    watched.expected.append("status of 412")
    watched.open(f"/chains/{name}/")
    drawn(admin_page, "vpn", "monitor")
    admin_page.get_by_role("textbox", name="Title").fill("Mine")
    call(admin_page, "PUT", f"chains/{name}/", chain_body(name, ["vpn"], title="Theirs"), {"If-Match": '"1"'})
    admin_page.locator("#save").click()
    admin_page.get_by_role("dialog").get_by_role("button", name="Go on drawing").click()
    expect(admin_page.get_by_role("textbox", name="Title")).to_have_value("Mine")
    expect(admin_page.locator("#editor-notice")).to_contain_text("Your changes are still here")
    expect(admin_page.locator("#editor")).to_have_attribute("data-dirty", "true")


def test_a_failed_save_and_a_reload_lose_nothing(
    watched: WatchedPage, admin_page: Page, chain: Callable[..., str]
) -> None:
    name = chain("keeps-all", "vpn")
    watched.expected += ["ERR_", "Failed to load resource"]
    watched.open(f"/chains/{name}/")
    drawn(admin_page, "vpn")
    admin_page.locator('.palette-item[data-type="monitor"]').get_by_role("button").click()
    admin_page.route(
        f"**/chains/{name}/",
        lambda route: route.abort() if route.request.method == "PUT" else route.continue_(),
    )
    admin_page.locator("#save").click()
    expect(admin_page.locator("#editor-notice")).to_contain_text("the portal cannot be reached")
    drawn(admin_page, "vpn", "monitor")
    asked: list[str] = []

    def leave(dialog: Dialog) -> None:
        asked.append(dialog.type)
        dialog.accept()

    admin_page.on("dialog", leave)
    admin_page.reload()
    assert asked == ["beforeunload"]
    admin_page.get_by_role("button", name="Take them back").click()
    drawn(admin_page, "vpn", "monitor")
    admin_page.unroute(f"**/chains/{name}/")
    admin_page.locator("#save").click()
    expect(admin_page.locator("#save-state")).to_have_text("saved, version 2")


def test_what_somebody_else_saves_shows_at_once(
    watched: WatchedPage, admin_page: Page, chain: Callable[..., str]
) -> None:
    name = chain("shown-at-once", "vpn")
    watched.open(f"/chains/{name}/")
    drawn(admin_page, "vpn")
    call(admin_page, "PUT", f"chains/{name}/", chain_body(name, ["vpn", "ids"]), {"If-Match": '"1"'})
    drawn(admin_page, "vpn", "ids")
    expect(admin_page.locator("#save-state")).to_have_text("saved, version 2")


def test_versions_are_restored(watched: WatchedPage, admin_page: Page, chain: Callable[..., str]) -> None:
    name = chain("restored", "vpn", "monitor")
    call(admin_page, "PUT", f"chains/{name}/", chain_body(name, ["vpn"]), {"If-Match": '"1"'})
    watched.open(f"/chains/{name}/")
    drawn(admin_page, "vpn")
    admin_page.get_by_text("Versions of the drawing").click()
    admin_page.get_by_role("button", name="Restore version 1").click()
    drawn(admin_page, "vpn", "monitor")
    expect(admin_page.locator("#save-state")).to_have_text("saved, version 3")


def test_list_shows_new_chains_at_once(
    watched: WatchedPage, admin_page: Page, chain: Callable[..., str]
) -> None:
    watched.open("/chains/")
    expect(admin_page.locator("#live-status .state")).to_have_text("live")
    name = chain("appears", "vpn", "monitor")
    row = admin_page.locator(f'[data-chain="{name}"]')
    expect(row).to_contain_text("draft")
    expect(row).to_contain_text("planned 200 packets/s")
    row.get_by_role("link").click()
    expect(admin_page.get_by_role("heading", level=1)).to_have_text(name)


def test_import_names_line_and_field(watched: WatchedPage, admin_page: Page) -> None:
    watched.expected.append("status of 400")
    watched.open("/chains/")
    admin_page.get_by_role("button", name="Import …").click()
    dialog = admin_page.get_by_role("dialog", name="Import a chain")
    text = dialog.get_by_label("or its text")
    text.fill("name: from-file\nrate_pps: 100\nnfs:\n  - name: fw\n    type: firewall\n    colour: red\n")
    dialog.get_by_role("button", name="Import", exact=True).click()
    expect(dialog.get_by_role("alert")).to_contain_text("line 6: nfs[0].colour")
    text.fill("name: from-file\nrate_pps: 100\nnfs:\n  - name: fw\n    type: firewall\n")
    dialog.get_by_role("button", name="Check only").click()
    expect(dialog.get_by_role("alert")).to_contain_text("from-file: fw")
    dialog.get_by_role("button", name="Import", exact=True).click()
    admin_page.wait_for_url("**/chains/from-file/")
    drawn(admin_page, "fw")
    with admin_page.expect_download() as download:
        admin_page.get_by_role("link", name="YAML").click()
    assert "from-file" in download.value.suggested_filename
    call(admin_page, "DELETE", "chains/from-file/", headers={"If-Match": "*"})


def test_operators_add_types_of_their_own(watched: WatchedPage, admin_page: Page) -> None:
    watched.expected.append("status of 400")
    watched.open("/chains/catalogue/")
    expect(admin_page.locator('[data-type="firewall"]')).to_contain_text("source IP")
    admin_page.get_by_role("button", name="New type").click()
    dialog = admin_page.get_by_role("dialog", name="New type")
    dialog.get_by_label("Slug").fill("Not a slug")
    dialog.get_by_label("Title").fill("Tagger")
    dialog.get_by_role("button", name="Save type").click()
    expect(dialog.get_by_role("alert")).to_contain_text("slug")
    dialog.get_by_label("Slug").fill("tagger")
    dialog.get_by_label("DSCP/ECN: writes").check()
    dialog.get_by_role("button", name="Save type").click()
    row = admin_page.locator('[data-type="tagger"]')
    expect(row).to_contain_text("DSCP/ECN")
    expect(row).to_contain_text("custom")
    admin_page.get_by_role("button", name="Edit Tagger").click()
    admin_page.get_by_role("dialog").get_by_label("Title").fill("Tagger 2")
    admin_page.get_by_role("button", name="Save type").click()
    expect(row).to_contain_text("Tagger 2")
    admin_page.get_by_role("button", name="Delete Tagger 2").click()
    expect(row).to_have_count(0)


def test_viewers_see_everything_and_no_control(
    browser: Browser, portal: WholePortal, admin_page: Page, chain: Callable[..., str]
) -> None:
    name = chain("for-viewers", "vpn", "monitor")
    with watched_page(browser, portal.url) as viewer:
        viewer.log_in("vera", USER_PASSWORD, then=f"/chains/{name}/")
        drawn(viewer.page, "vpn", "monitor")
        expect(viewer.page.locator("#chain-facts")).to_contain_text("200 packets/s")
        expect(viewer.page.locator("#main").get_by_role("button", disabled=False)).to_have_count(0)
        viewer.open("/chains/")
        expect(viewer.page.locator(f'[data-chain="{name}"]')).to_be_visible()
        expect(viewer.page.locator("#main").get_by_role("button")).to_have_count(0)
        viewer.open("/chains/catalogue/")
        expect(viewer.page.locator('[data-type="vpn"]')).to_be_visible()
        expect(viewer.page.locator("#main").get_by_role("button")).to_have_count(0)
        viewer.expected.append("status of 403")
        viewer.open("/chains/new/")
        expect(viewer.page.get_by_role("heading", level=1)).to_have_text("Not allowed")


def test_an_unknown_chain_says_so(watched: WatchedPage, admin_page: Page) -> None:
    watched.expected.append("status of 404")
    watched.open("/chains/no-such-chain/")
    expect(admin_page.get_by_role("heading", level=1)).to_have_text("Nothing here")


@pytest.mark.parametrize(("scheme", "width"), [("light", 1400), ("dark", 390)])
def test_pages_fit_and_read(browser: Browser, portal: WholePortal, scheme: str, width: int) -> None:
    with watched_page(browser, portal.url, **look(scheme, width)) as watched:
        page, first = watched.page, "/chains/catalogue/"
        watched.log_in("admin", portal.password, then=first)
        for path in (first, f"/chains/new/?draw={','.join(DRAWN)}"):
            if path != first:
                page.goto(urljoin(watched.base_url, path))
            expect(page.locator("#types tr, #strip .nf-card").first).to_be_visible()
            if "new" in path:
                expect(page.locator(".pair-cell")).to_have_count(6)
                cards(page).first.locator(".nf-main").click()
                expect(page.locator("#proposal")).to_have_attribute("data-advice", "fresh", timeout=ANSWER_MS)
            assert_both_themes(page, path, scheme)
