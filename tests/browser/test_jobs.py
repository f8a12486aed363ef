"""The pages of jobs: live progress and cancelling."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.watch import WatchedPage
from tests.support.whole_portal import WholePortal

# A fault that clears itself is a job; it is started as a script would, with the page's session.
START = """
async () => {
  const { call } = await import("/static/js/rest.js");
  return call("POST", "/api/v1/lab/faults/", { link: "lte", kind: "delay", value: 80, duration_s: 60 });
}
"""


@pytest.fixture
def running_job(admin_page: Page, watched: WatchedPage, portal: WholePortal) -> str:
    """The id of a job that runs for a minute unless cancelled."""
    portal.lab()
    watched.open("/jobs/")
    job: dict[str, str] = admin_page.evaluate(START)
    return job["id"]


def test_job_appears_and_moves(admin_page: Page, running_job: str) -> None:
    row = admin_page.locator(f'[data-job="{running_job}"]')
    expect(row.locator(".state")).to_have_text("running", timeout=30_000)
    first = float(row.locator("progress").evaluate("(element) => element.value"))
    admin_page.wait_for_function(
        "([id, first]) => document.querySelector(`[data-job='${id}'] progress`).value > first",
        arg=[running_job, first],
    )
    row.get_by_role("button", name="Cancel").click()
    expect(row.locator(".state")).to_have_text("cancelled", timeout=30_000)
    expect(row.get_by_role("button")).to_have_count(0)


def test_job_page_cancels(admin_page: Page, running_job: str) -> None:
    admin_page.locator(f'[data-job="{running_job}"] a').click()
    expect(admin_page).to_have_url(re.compile(f"/jobs/{running_job}/"))
    expect(admin_page.locator("#job-state .state")).to_have_text("running", timeout=30_000)
    expect(admin_page.locator("#job-params")).to_contain_text("lte")
    admin_page.get_by_role("button", name="Cancel job").click()
    expect(admin_page.locator("#job-state .state")).to_have_text("cancelled", timeout=30_000)
    expect(admin_page.locator("#job-took")).to_contain_text("s")
