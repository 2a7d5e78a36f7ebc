"""Writing files so that they appear whole or not at all, and reading only what is a file."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def written_aside(path: Path) -> Iterator[BinaryIO]:
    """Open a file beside ``path`` that takes its place at the end, or vanishes on any exception.

    Raises:
        OSError: the file cannot be written; ``path`` is as it was.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with aside.open("wb") as file:
            yield file
        aside.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            aside.unlink(missing_ok=True)
        raise


def open_regular(path: str | os.PathLike[str], *, dir_fd: int | None = None, follow: bool = True) -> BinaryIO:
    """Open a regular file for reading; a FIFO does not block, and a device is not touched.

    Args:
        path: the file.
        dir_fd: the folder that a relative path starts from, the working folder by default.
        follow: whether the last part of the path may be a symbolic link.

    Raises:
        OSError: there is no such file, it may not be read, or it is no regular file.
    """
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
    if not follow:
        flags |= getattr(os, "O_NOFOLLOW", 0)
    descriptor = os.open(path, flags, dir_fd=dir_fd)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(None, "it is no regular file")
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise
