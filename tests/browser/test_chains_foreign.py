"""The drawing board with foreign network functions: a rule set is typed as text, and refused beside its field."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.test_chains import call, cards
from tests.browser.watch import WatchedPage

NAME = "kernel-firewall"


@pytest.fixture
def board(admin_page: Page, watched: WatchedPage) -> Page:
    """An empty drawing board with its palette."""
    watched.open("/chains/new/")
    expect(admin_page.locator('.palette-item[data-type="nftables"]')).to_be_visible()
    return admin_page


def test_a_rule_set_is_text_with_errors_beside_it(board: Page, watched: WatchedPage) -> None:
    watched.expected.append("status of 400")
    board.locator('.palette-item[data-type="nftables"]').get_by_role("button").click()
    cards(board).first.locator(".nf-main").click()
    rules, json = board.get_by_label("Rule set (nft)"), board.get_by_label("Parameters (JSON)")
    expect(rules).to_be_visible()
    expect(json).to_be_hidden()
    expect(board.locator("strong.field-warning")).to_contain_text("needs parameters to run")
    rules.fill("table inet filter {\n}\n")
    board.get_by_role("textbox", name="Name", exact=True).fill(NAME)
    board.get_by_label("Rate, packets/s").fill("300")
    board.locator("#save").click()
    error = board.locator('[data-field="nfs[0].params.ruleset"] .field-error')
    expect(error).to_contain_text("must have a table of the family bridge")
    board.get_by_role("button", name="Put an example in").click()
    expect(rules).to_have_value(re.compile("^table bridge filter {"))
    expect(error).to_be_empty()
    board.locator("#save").click()
    board.wait_for_url(f"**/chains/{NAME}/")
    stored = call(board, "GET", f"chains/{NAME}/")
    assert stored["nfs"][0]["params"]["ruleset"].count("\n") >= 5
    call(board, "DELETE", f"chains/{NAME}/", headers={"If-Match": "*"})


def test_the_field_follows_the_type(board: Page) -> None:
    board.locator('.palette-item[data-type="ngrep"]').get_by_role("button").click()
    cards(board).first.locator(".nf-main").click()
    expect(board.get_by_label("Parameters (JSON)")).to_be_visible()
    expect(board.get_by_label("Rule set (nft)")).to_be_hidden()
    board.get_by_label("Type", exact=True).select_option("nftables")
    expect(board.get_by_label("Rule set (nft)")).to_be_visible()
    expect(board.get_by_label("Parameters (JSON)")).to_be_hidden()
