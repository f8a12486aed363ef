"""One scripted round trip through a running portal, as an operator and a program would do it.

``python -m nfvportal.supervise.check --url http://localhost:8000/``; the password of admin comes in
``NFV_CHECK_PASSWORD``. Exit code 0 when every step worked; otherwise the step that did not is named.
"""

import argparse
import http.client
import http.cookiejar
import json
import os
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from typing import Any

from websockets.sync.client import ClientConnection, connect

REQUEST_TIMEOUT_S = 15.0
AGENTS_WITHIN_S = 45.0
SNAPSHOT_WITHIN_S = 10.0
FAILOVER_WITHIN_S = 20.0
RESTORE_WITHIN_S = 60.0
JOB_WITHIN_S = 30.0
FAULT_DURATION_S = 2
FINAL_JOB_STATES = {"succeeded", "failed", "cancelled"}


class CheckError(Exception):
    """A step did not work; the message says what was expected and what came."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        """Leave redirects to the caller, who wants to see them."""


class Browser:
    """A client with cookies, as far as the check needs one."""

    def __init__(self, url: str) -> None:
        self.base = url.rstrip("/")
        self.cookies = http.cookiejar.CookieJar()
        # A proxy of the environment is not for this machine's own address.
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), _NoRedirect(), urllib.request.HTTPCookieProcessor(self.cookies)
        )

    def cookie(self, prefix: str) -> str:
        """Return the value of the cookie whose name starts with ``prefix``."""
        for cookie in self.cookies:
            if cookie.name.startswith(prefix):
                return cookie.value or ""
        raise CheckError(f"the portal set no cookie {prefix}...")

    def request(
        self, method: str, path: str, body: bytes | None = None, content_type: str = ""
    ) -> tuple[int, dict[str, str], bytes]:
        """Send one request; return status, headers (lower case) and body."""
        headers = {"Origin": self.base, "Referer": self.base + "/", "Accept": "application/json, text/html"}
        if content_type:
            headers["Content-Type"] = content_type
        if method != "GET":
            headers["X-CSRFToken"] = self.cookie("nfvportal_csrf")
        request = urllib.request.Request(urllib.parse.urljoin(self.base, path), body, headers, method=method)  # noqa: S310  # our own http address
        try:
            with self._opener.open(request, timeout=REQUEST_TIMEOUT_S) as answer:
                return answer.status, {k.lower(): v for k, v in answer.headers.items()}, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, {k.lower(): v for k, v in error.headers.items()}, error.read()
        except (OSError, http.client.HTTPException) as error:
            raise CheckError(f"{method} {path}: {error}") from error

    def get_json(self, path: str) -> Any:
        """Return the JSON behind a path that must answer 200."""
        status, _, body = self.request("GET", path)
        if status != http.HTTPStatus.OK:
            raise CheckError(f"GET {path} answered {status}: {body[:300].decode(errors='replace')}")
        return json.loads(body)

    def rows(self, path: str) -> list[dict[str, Any]]:
        """Return the rows of a REST collection."""
        content = self.get_json(path)
        rows = content if isinstance(content, list) else content.get("results", content.get("items"))
        if not isinstance(rows, list):
            raise CheckError(f"GET {path} holds no list of rows: {str(content)[:200]}")
        return rows

    def live(self) -> ClientConnection:
        """Open the live stream with our session."""
        cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in self.cookies)
        address = self.base.replace("http", "ws", 1) + "/ws/live/"
        return connect(
            address, additional_headers={"Cookie": cookies, "Origin": self.base}, proxy=None, max_size=None
        )


def poll(what: str, within_s: float, ask: Callable[[], Any]) -> Any:
    """Ask until the answer is true.

    Raises:
        CheckError: not within ``within_s`` seconds.
    """
    deadline_s = time.monotonic() + within_s
    while not (answer := ask()):
        if time.monotonic() > deadline_s:
            raise CheckError(f"not within {within_s:.0f} s: {what}")
        time.sleep(0.1)
    return answer


class RoundTrip:
    """The steps, in order."""

    def __init__(self, url: str, password: str) -> None:
        self.browser = Browser(url)
        self.password = password
        self.stream: ClientConnection
        self.fault_link = ""
        self.job_path = ""
        self.progress: set[float] = set()

    def steps(self) -> list[tuple[str, Callable[[], str]]]:
        """Return name and function of each step; a function returns what it found."""
        return [
            ("login", self.login),
            ("live stream", self.snapshot),
            ("REST", self.rest),
            ("agents", self.agents),
            ("fault as a job", self.fault),
            ("failover", self.failover),
            ("job with progress", self.job),
            ("restore", self.restored),
        ]

    def login(self) -> str:
        """Log in through the form."""
        status, _, _ = self.browser.request("GET", "/login/")
        if status != http.HTTPStatus.OK:
            raise CheckError(f"GET /login/ answered {status}")
        form = {
            "username": "admin",
            "password": self.password,
            "csrfmiddlewaretoken": self.browser.cookie("nfvportal_csrf"),
        }
        body = urllib.parse.urlencode(form).encode()
        status, headers, _ = self.browser.request(
            "POST", "/login/", body, "application/x-www-form-urlencoded"
        )
        if status != http.HTTPStatus.FOUND:
            raise CheckError(f"the login form answered {status}, not a redirect: wrong password?")
        return f"as admin, sent to {headers.get('location', '')}"

    def snapshot(self) -> str:
        """Subscribe to the WAN and the event log; wait for both snapshots."""
        self.stream = self.browser.live()
        self.stream.send(json.dumps({"subscribe": ["wan", "events"]}))
        seen: dict[str, Any] = {}
        deadline_s = time.monotonic() + SNAPSHOT_WITHIN_S
        while set(seen) < {"wan", "events"}:
            frame = self._frame(deadline_s, "snapshots of wan and events")
            if frame.get("type") == "error":
                raise CheckError(f"the live stream refused: {frame}")
            if frame.get("type") == "snapshot":
                seen[frame["topic"]] = frame["seq"]
        return f"snapshot of wan, seq {seen['wan']}"

    def _frame(self, deadline_s: float, what: str) -> dict[str, Any]:
        try:
            text = self.stream.recv(timeout=max(deadline_s - time.monotonic(), 0.001))
        except TimeoutError:
            raise CheckError(f"the live stream brought no {what} in time") from None
        frame = json.loads(text)
        assert isinstance(frame, dict)
        return frame

    def rest(self) -> str:
        """List the WAN links."""
        names = [row["name"] for row in self.browser.rows("/api/v1/wan/links/")]
        if not names:
            raise CheckError("GET /api/v1/wan/links/ lists no link")
        return f"{len(names)} WAN links ({', '.join(names)})"

    def agents(self) -> str:
        """Wait until every device that has roles is online, and the gateways have measured their links."""

        def offline() -> list[str]:
            devices = self.browser.rows("/api/v1/inventory/devices/")
            wanted = [device for device in devices if device["roles"]]
            if not wanted:
                return ["(no device has a role)"]
            return [device["name"] for device in wanted if device["status"] != "online"]

        def links_up() -> bool:
            return all(row["state"] == "up" for row in self.browser.rows("/api/v1/wan/links/"))

        poll("all agents online", AGENTS_WITHIN_S, lambda: not offline())
        poll("all WAN links up", AGENTS_WITHIN_S, links_up)
        return "all online, all links up"

    def fault(self) -> str:
        """Black-hole a link that carries traffic."""
        mapping = self.browser.get_json("/api/v1/wan/map/")["mapping"]
        self.fault_link = sorted(mapping.values())[0]
        body = json.dumps(
            {"link": self.fault_link, "kind": "blackhole", "duration_s": FAULT_DURATION_S}
        ).encode()
        status, headers, answer = self.browser.request(
            "POST", "/api/v1/lab/faults/", body, "application/json"
        )
        if status != http.HTTPStatus.ACCEPTED:
            raise CheckError(
                f"POST /api/v1/lab/faults/ answered {status}: {answer[:300].decode(errors='replace')}"
            )
        self.job_path = headers.get("location", "")
        if not self.job_path:
            raise CheckError("the accepted fault names no job (no Location)")
        return f"black hole on {self.fault_link}"

    def failover(self) -> str:
        """Wait for the failover on the live stream, then for its record."""
        deadline_s = time.monotonic() + FAILOVER_WITHIN_S
        while True:
            frame = self._frame(deadline_s, f"wan.link_failed of {self.fault_link}")
            if frame.get("topic") == "events" and frame.get("event") == "wan.link_failed":
                break

        def record() -> dict[str, Any] | None:
            rows = self.browser.rows("/api/v1/wan/failovers/")
            return next((row for row in rows if row["link"] == self.fault_link), None)

        found = poll(f"a failover record of {self.fault_link}", FAILOVER_WITHIN_S, record)
        return f"detected in {found['detection_ms']} ms, acted in {found['action_ms']} ms"

    def job(self) -> str:
        """Follow the job of the fault to its end."""

        def final() -> dict[str, Any] | None:
            job: dict[str, Any] = self.browser.get_json(self.job_path)
            self.progress.add(job["progress_ratio"])
            return job if job["state"] in FINAL_JOB_STATES else None

        job = poll("the job's end", JOB_WITHIN_S, final)
        if job["state"] != "succeeded" or job["progress_ratio"] != 1:
            raise CheckError(
                f"the job ended {job['state']} at {job['progress_ratio']}: {job.get('error', '')}"
            )
        return f"succeeded, progress {', '.join(f'{ratio:.2f}' for ratio in sorted(self.progress))}"

    def restored(self) -> str:
        """Wait until the link carries traffic again."""

        def is_up() -> bool:
            rows = self.browser.rows("/api/v1/wan/links/")
            return any(row["name"] == self.fault_link and row["state"] == "up" for row in rows)

        poll(f"{self.fault_link} up again", RESTORE_WITHIN_S, is_up)
        return f"{self.fault_link} is up again"


def main() -> int:
    """Run all steps; return the exit code."""
    parser = argparse.ArgumentParser(description="Try everything once on a running portal.")
    parser.add_argument("--url", required=True)
    options = parser.parse_args()
    trip = RoundTrip(options.url, os.environ.get("NFV_CHECK_PASSWORD", ""))
    for name, step in trip.steps():
        started_s = time.monotonic()
        try:
            found = step()
        except (CheckError, OSError, ValueError, KeyError, TypeError) as error:
            print(f"  {name:<18} FAILED after {time.monotonic() - started_s:.1f} s: {error!r}", flush=True)
            return 1
        print(f"  {name:<18} {time.monotonic() - started_s:5.1f} s  {found}", flush=True)
    trip.stream.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
