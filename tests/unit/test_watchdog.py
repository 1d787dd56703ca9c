"""What ends a runner's process: its watchdog, and the end of the service. In a process of its own."""

from __future__ import annotations

import subprocess
import sys

from maeum.settings import PROJECT_DIR

PREAMBLE = """
import threading, time
from runners.lifecycle import Watchdog

def hang():
    time.sleep(60)
"""


def run(code: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", PREAMBLE + code]
    return subprocess.run(command, cwd=PROJECT_DIR, capture_output=True, encoding="utf-8", timeout=120)


def test_a_batch_that_hangs_ends_the_process_and_says_where() -> None:
    done = run("with Watchdog(0.5).watching():\n    hang()")
    assert done.returncode == 1
    assert "Timeout" in done.stderr
    assert "in hang" in done.stderr


def test_without_the_interpreter_lock_too() -> None:
    """As native code does that never gives it back: here a regular expression that takes for ever."""
    done = run("import re\nwith Watchdog(0.5).watching():\n    re.match('(a+)+b', 'a' * 60)")
    assert done.returncode == 1
    assert "Timeout" in done.stderr


def test_batches_that_end_in_time_are_left_alone() -> None:
    done = run(
        """
dog = Watchdog(1.0)
for _ in range(8):
    with dog.watching():
        time.sleep(0.2)
time.sleep(1.5)
print("alive")
"""
    )
    assert (done.returncode, done.stdout) == (0, "alive\n")
    assert "Timeout" not in done.stderr


def test_another_batch_that_ends_does_not_save_the_one_that_hangs() -> None:
    done = run(
        """
dog = Watchdog(1.0)
def work():
    while True:
        with dog.watching():
            time.sleep(0.1)
threading.Thread(target=work, daemon=True).start()
with dog.watching():
    hang()
"""
    )
    assert done.returncode == 1
    assert "in hang" in done.stderr


def test_a_batch_that_fails_is_no_longer_watched() -> None:
    done = run(
        """
dog = Watchdog(0.5)
try:
    with dog.watching():
        raise ValueError
except ValueError:
    time.sleep(1)
print("alive")
"""
    )
    assert (done.returncode, done.stdout) == (0, "alive\n")


def test_a_batch_that_nobody_waits_for_any_more_does_not_keep_the_process() -> None:
    done = run(
        """
import signal
from runners import lifecycle
lifecycle._STOP_TIMEOUT_S = 0.5
signal.signal(signal.SIGTERM, lambda *_: print("told to stop", flush=True))
lifecycle.outlive_the_service()
signal.raise_signal(signal.SIGTERM)
hang()
print("has waited")
"""
    )
    assert (done.returncode, done.stdout) == (0, "told to stop\n")


LOST = """
import sys
from runners.base import BatchWorker

def engine(items):
    if "bad" in items:
        raise RuntimeError("an error that stays")
    return list(items)

def warm_up():
    if model_is_lost:
        raise RuntimeError("an error that stays")

worker = BatchWorker("text", engine, warm_up)
for items in (["bad"], ["bad"], ["good", "bad"], ["bad"], ["bad"]):
    worker.run(items)
print("two in a row", flush=True)
worker.run(["bad", "bad"])
print("alive", flush=True)
"""


def test_a_model_that_fails_on_everything_ends_the_process() -> None:
    done = run("model_is_lost = True\n" + LOST)
    assert (done.returncode, done.stdout) == (1, "two in a row\n")
    assert "event=model_lost runner=text error=RuntimeError" in done.stderr


def test_recordings_that_fail_are_no_reason_to_end_it() -> None:
    done = run("model_is_lost = False\n" + LOST)
    assert (done.returncode, done.stdout) == (0, "two in a row\nalive\n")
