"""Interrupts that are not lost.

What Ctrl-C raises need not arrive: an extension module that is being initialized turns it into an error of its own,
swallows it, or leaves the process waiting for a lock. So the signal is remembered, asked for at every phase, and
ends the process some seconds later if nothing else did.
"""

from __future__ import annotations

import os
import signal
import sys
import threading

EXIT_CODE = 130
PATIENCE_S = 10.0
_seen: list[int] = []


def install() -> None:
    """Take over SIGINT; only in the main thread, where Python allows it."""
    _seen.clear()
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, _handle)


def happened() -> bool:
    """Return whether the user interrupted."""
    return bool(_seen)


def check() -> None:
    """Raise KeyboardInterrupt if the user interrupted."""
    if _seen:
        raise KeyboardInterrupt


def report() -> int:
    """Say so, and return the exit code."""
    print("error: interrupted\n  note: nothing was written", file=sys.stderr, flush=True)
    return EXIT_CODE


def _handle(number: int, frame: object) -> None:
    _seen.append(number)
    timer = threading.Timer(PATIENCE_S, lambda: os._exit(report()))
    timer.daemon = True
    timer.start()
    raise KeyboardInterrupt
