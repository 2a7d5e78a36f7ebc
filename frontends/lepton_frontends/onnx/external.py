"""The files that a model keeps tensor data in: which of them may be read, and their contents.

A model names these files itself, so whoever wrote the model chooses what is opened. Nothing is read but regular files
inside one folder, which no second name (a hard link) leads to, and nothing that stands elsewhere and is only linked
to from there.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from lepton_ir.files import open_regular

OUTSIDE = "which does not lie in the model's folder"


class ExternalDataError(ValueError):
    """A file must not or cannot be read: the reason, and what to do."""

    def __init__(self, reason: str, help: str) -> None:
        super().__init__(reason)
        self.help = help


@dataclass
class ExternalFiles:
    """Opens the data files of one model, each once.

    Attributes:
        model: the model's file.
        root: the folder that locations are relative to; the model's own where None.
    """

    model: Path
    root: Path | None = None
    _maps: dict[Path, memoryview] = field(default_factory=dict)

    def own(self) -> memoryview:
        """Return the contents of the model's file."""
        return self._mapped(self.model, lambda: open_regular(self.model))

    def contents(self, location: str) -> memoryview:
        """Return the contents of a data file, as a map.

        Raises:
            ExternalDataError: it must not be read, or cannot be.
        """
        folder, parts = self._place(location)
        try:
            return self._mapped(Path(folder, *parts), lambda: _open_inside(folder, parts))
        except FileNotFoundError:
            raise ExternalDataError(
                f"its data is in the file {location!r}, which is not in {self._folder()}",
                "put the data file beside the model, or name its folder with --external-data-root",
            ) from None
        except OSError as error:
            raise ExternalDataError(
                f"its data file {location!r} cannot be read: {error.strerror or error}",
                "the data must be in a regular file of the model's folder; save the model again",
            ) from None

    def _folder(self) -> Path:
        return self.root if self.root is not None else self.model.parent

    def _place(self, location: str) -> tuple[Path, tuple[str, ...]]:
        """Return the folder that holds the file once links are followed, and the path below it."""
        relative = PurePosixPath(location.replace("\\", "/"))
        names_file = bool(relative.parts) and "\0" not in location and location[-1] not in "/\\"
        if names_file and not relative.is_absolute() and ".." not in relative.parts:
            real = _real(self._folder() / relative)
            # A model that is a link itself (as in a cache of downloads) has its data beside what it links to.
            allowed = [_real(self._folder()), *([_real(self.model).parent] if self.root is None else [])]
            for folder in allowed:
                if folder in real.parents:
                    return folder, real.relative_to(folder).parts
        raise ExternalDataError(
            f"its external data {location!r} is in a file {OUTSIDE}",
            "data files stand beside the model or below it; save the model again, or name the folder they are in with "
            "--external-data-root",
        )

    def _mapped(self, key: Path, opened: Callable[[], BinaryIO]) -> memoryview:
        if key not in self._maps:
            with opened() as file:
                empty = os.fstat(file.fileno()).st_size == 0
                # An empty file cannot be mapped.
                self._maps[key] = memoryview(b"" if empty else mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        return self._maps[key]


def _real(path: Path) -> Path:
    # Path.resolve raises on links that lead in circles.
    return Path(os.path.realpath(path))


def _open_inside(folder: Path, parts: Sequence[str]) -> BinaryIO:
    """Open a file below ``folder``, going down part by part, so that no link that appears meanwhile leads out."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    at = os.open(folder, flags)
    try:
        for part in parts[:-1]:
            below = os.open(part, flags, dir_fd=at)
            os.close(at)
            at = below
        file = open_regular(parts[-1], dir_fd=at, follow=False)
    finally:
        os.close(at)
    if os.fstat(file.fileno()).st_nlink > 1:
        file.close()
        raise OSError(None, "it has a second name (a hard link), perhaps outside of the folder; copy it")
    return file
