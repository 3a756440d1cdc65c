"""A signal ends a command with its line and its code, whatever it meets."""

import signal
import subprocess
import sys
import textwrap

import pytest

WAYS = {
    "into plain work": """
        send()
        wait()
    """,
    "into code that forgives every error": """
        try:
            send()
            wait()
        except Exception:
            pass
        wait()
    """,
    "into a destructor": """
        class Held:
            def __del__(self):
                send()
                wait(1)
        Held()
        wait()
    """,
    "into code that makes another error of it": """
        try:
            send()
            wait()
        except BaseException as error:
            raise ValueError("wrapped") from error
    """,
    "and again while the first is dealt with": """
        try:
            send()
            wait()
        finally:
            send()
            wait(0.1)
            print("in order")
    """,
}
COMMAND = """
import os, signal, sys, time
import alphacryo4d.cli as cli
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background ignores both
signal.signal(signal.SIGHUP, signal.SIG_DFL)

def send():
    os.kill(os.getpid(), {number})

def wait(seconds=30):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.01)

def work(**_):
{body}

cli.root.main = work
sys.argv = ["alphacryo4d", "cite"]
cli.main()
"""


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)]
)
@pytest.mark.parametrize("way", WAYS)
def test_a_signal_ends_the_work(way: str, number: signal.Signals, code: int) -> None:
    body = textwrap.indent(textwrap.dedent(WAYS[way]), "    ")
    text = COMMAND.format(number=int(number), body=body)
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    assert done.stderr.startswith("error: stopped"), done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert ("in order" in done.stdout) == (way.startswith("and again"))
