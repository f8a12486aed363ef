"""Debian's Chromium, driven by Playwright; no browser is downloaded."""

import contextlib
import shutil
from collections.abc import Iterator

from playwright.sync_api import Browser, sync_playwright

NAMES = ("chromium", "chromium-browser")
# The last list of these counts, so it names what Playwright switches off too and matters here. The boxes that open
# below the address bar are pages of their own, made anew with every window: half of what an empty window costs.
DISABLED_FEATURES = (
    *(
        "HttpsUpgrades",
        "HttpsFirstBalancedModeAutoEnable",
        "MediaRouter",
        "OptimizationHints",
        "PaintHolding",
    ),
    *("NetworkTimeServiceQuerying", "DestroyProfileOnBrowserClose", "AvoidUnnecessaryBeforeUnloadCheckSync"),
    *("WebUIOmniboxPopup", "WebUIOmniboxAimPopup", "WebUIOmniboxFullPopup"),
)
ARGUMENTS = [
    f"--disable-features={','.join(DISABLED_FEATURES)}",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
MISSING = "no Chromium: install the Debian package `chromium` (make test does it as root)"


def chromium_path() -> str | None:
    """Return the system's Chromium, or ``None`` where there is none."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """Start Chromium and end it after.

    Raises:
        FileNotFoundError: there is none.
    """
    path = chromium_path()
    if path is None:
        raise FileNotFoundError(MISSING)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()
