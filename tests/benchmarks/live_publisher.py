"""Publishes as a worker does, in a process of its own.

``python -m tests.benchmarks.live_publisher TOPIC COUNT EVERY_S`` prints one JSON line: the milliseconds of each call
of ``publish``.
"""

import json
import sys
import time

import django

FILL = {f"field_{index}": index * 1.5 for index in range(20)}  # about as large as a job or a link


def main(topic: str, count: int, every_s: float) -> None:
    """Publish ``count`` numbered changes and as many telemetry values, one every ``every_s`` seconds."""
    django.setup()
    from nfvportal.live.publish import publish, publish_latest

    calls_ms = []
    next_s = time.monotonic()
    for n in range(count):
        next_s += every_s
        time.sleep(max(0.0, next_s - time.monotonic()))
        started_s = time.perf_counter()
        publish(topic, "bench_changed", {"n": n, "sent_s": time.time(), **FILL})
        calls_ms.append((time.perf_counter() - started_s) * 1000)
        publish_latest(topic, "bench", FILL)
    print(json.dumps(calls_ms), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
