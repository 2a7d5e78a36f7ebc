"""Keeping TVM's warnings about an absent GPU off the terminal."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

NOISE = (b"backend/rocm/codegen/",)
"""Where the warnings come from that TVM prints, once per kernel, when no AMD GPU is in the machine."""


@contextmanager
def quiet() -> Iterator[None]:
    """Drop the lines of :data:`NOISE` from the process's standard error inside the block; others pass at once."""
    try:
        saved = os.dup(2)
    except OSError:  # there is no standard error
        yield
        return
    reader, writer = os.pipe()
    os.dup2(writer, 2)
    os.close(writer)
    forwarder = threading.Thread(target=_forward, args=(reader, saved), daemon=True)
    forwarder.start()
    try:
        yield
    finally:
        os.dup2(saved, 2)  # closes the pipe's last writing end, which ends the thread
        forwarder.join()
        os.close(reader)
        os.close(saved)


def _forward(reader: int, out: int) -> None:
    held = b""
    while chunk := os.read(reader, 65536):
        *lines, held = (held + chunk).split(b"\n")
        for line in lines:
            if not any(noise in line for noise in NOISE):
                os.write(out, line + b"\n")
        # An unfinished line is held back only while it can still turn out to be a warning of TVM.
        if held and not held.startswith(b"["):
            os.write(out, held)
            held = b""
    if held and not any(noise in held for noise in NOISE):
        os.write(out, held)
