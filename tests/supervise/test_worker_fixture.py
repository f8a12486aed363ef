"""The test run's Celery worker: real, on the test database, back after a test killed it."""

import os
import signal
import subprocess

import pytest

from nfvportal.celery import app
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("turn", ["first", "after it was killed"])
def test_worker_answers(celery_worker_process: "subprocess.Popen[bytes]", turn: str) -> None:
    wait_until(lambda: app.control.ping(timeout=1.0), "the worker answers a ping", 20)
    os.killpg(celery_worker_process.pid, signal.SIGKILL)
    celery_worker_process.wait()
