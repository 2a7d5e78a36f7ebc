"""Zip archives as PyTorch writes them: records in one folder, tensors stored uncompressed.

Nothing is extracted. A record is read only when it is asked for, bounded by the size that the archive states, and the
sizes of all records together are bounded by the memory that the import may use: a decompression bomb is an error.
"""

from __future__ import annotations

import mmap
import os
import struct
import zipfile
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import numpy as np

from lepton_ir.diagnostics import LeptonError
from lepton_ir.files import open_regular
from lepton_ir.limits import human_size

_LOCAL_HEADER = struct.Struct("<4s5H3L2H")
_MOST_RECORDS = 1 << 20
_AGAIN = "save or download the model again"


class Archive:
    """An open archive.

    Attributes:
        name: the file's name, to name in errors.
    """

    def __init__(self, path: str | PathLike[str], memory: int) -> None:
        self.name = fspath(path)
        self._memory = memory
        try:
            with open_regular(Path(path)) as file:
                if os.fstat(file.fileno()).st_size == 0:
                    raise LeptonError("the file is empty", self.name, help=_AGAIN)
                self._data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except FileNotFoundError:
            raise LeptonError("no such file", self.name, help="check the path") from None
        except (OSError, ValueError) as error:
            why = str(getattr(error, "strerror", None) or error)
            raise LeptonError("the file cannot be read", self.name, why, "name a regular file") from None
        try:
            self._zip = zipfile.ZipFile(_Window(self._data))
        except (zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, ValueError, OverflowError) as error:
            raise LeptonError("the file is no zip archive", self.name, str(error), _AGAIN) from None
        self._records = self._index()

    def _index(self) -> dict[str, zipfile.ZipInfo]:
        """Return the records by their name inside of the archive's folder.

        Raises:
            LeptonError: there are two of one name, more than there is memory for, or encrypted ones.
        """
        records: dict[str, zipfile.ZipInfo] = {}
        entries = [i for i in self._zip.infolist() if not i.filename.endswith("/")]
        if len(entries) > _MOST_RECORDS:
            raise self._broken(f"it has {len(entries)} records")
        total = sum(i.file_size for i in entries)
        if total > self._memory:
            raise LeptonError(
                f"the archive unpacks to {human_size(total)}",
                self.name,
                f"the limit is {human_size(self._memory)}",
                "raise the limit with --max-memory (in Python: memory_budget=)",
            )
        for info in entries:
            _, _, name = info.filename.partition("/")
            if info.flag_bits & 1 or not name:
                raise self._broken(f"its record {info.filename[:80]!r} is encrypted or outside of its folder")
            if records.setdefault(name, info) is not info:
                raise self._broken(f"it has two records called {name[:80]!r}")
        return records

    def __contains__(self, name: str) -> bool:
        return name in self._records

    def names(self, prefix: str = "", suffix: str = "") -> list[str]:
        """Return the names of the records that begin and end so, in the archive's order."""
        return [n for n in self._records if n.startswith(prefix) and n.endswith(suffix)]

    def read(self, name: str) -> bytes:
        """Return a record's bytes.

        Raises:
            LeptonError: there is none, or it is damaged.
        """
        info = self._records.get(name)
        if info is None:
            raise self._broken(f"its record {name!r} is missing")
        try:
            with self._zip.open(info) as file:
                data = file.read(info.file_size)
                if len(data) != info.file_size or file.read(1):
                    raise self._broken(f"its record {name!r} is not as long as it says")
                return data
        except LeptonError:
            raise
        except Exception as error:  # zipfile, zlib, bz2 and lzma raise what they like about damaged data
            raise self._broken(f"its record {name!r}: {error}") from None

    def text(self, name: str) -> str:
        """Return a record as text.

        Raises:
            LeptonError: there is none, or it is no UTF-8.
        """
        try:
            return self.read(name).decode()
        except UnicodeDecodeError as error:
            raise self._broken(f"its record {name!r} is no text: {error}") from None

    def array(self, name: str) -> np.ndarray[Any, Any]:
        """Return a record's bytes as an array of u8 that is not copied where the archive stores it as it is.

        Raises:
            LeptonError: there is none, or it is damaged.
        """
        info = self._records.get(name)
        if info is None or info.compress_type != zipfile.ZIP_STORED:
            return np.frombuffer(self.read(name), np.uint8)
        start = info.header_offset
        head = self._data[start : start + _LOCAL_HEADER.size]
        if len(head) < _LOCAL_HEADER.size or head[:4] != b"PK\x03\x04":
            raise self._broken(f"its record {name!r} has no header")
        fields = _LOCAL_HEADER.unpack(head)
        first = start + _LOCAL_HEADER.size + fields[-2] + fields[-1]
        if info.file_size != info.compress_size or first + info.file_size > len(self._data):
            raise self._broken(f"its record {name!r} ends beyond the file")
        return np.frombuffer(self._data, np.uint8, info.file_size, first)

    def _broken(self, why: str) -> LeptonError:
        return LeptonError("the archive is damaged, or no model", self.name, why, _AGAIN)


class _Window:
    """A mapped file as a file object with a position of its own."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self._at = 0

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = max(0, offset + (0, self._at, len(self._data))[whence])
        return self._at

    def tell(self) -> int:
        return self._at

    def seekable(self) -> bool:
        return True

    def read(self, count: int = -1) -> bytes:
        end = len(self._data) if count is None or count < 0 else self._at + count
        found = self._data[self._at : end]
        self._at += len(found)
        return found
