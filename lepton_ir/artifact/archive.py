"""A zip file of stored entries, each aligned to 64 bytes, so that it can be used in place from a memory map."""

from __future__ import annotations

import hashlib
import mmap
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from lepton_ir.artifact.manifest import Entry
from lepton_ir.diagnostics import LeptonError
from lepton_ir.files import open_regular

ALIGNMENT = 64
_LOCAL_HEADER = 30
_ZIP64_EXTRA = 20
_PADDING_ID = 0xD935
"""The extra field that Android's zipalign uses for the same purpose."""

_NAME = re.compile(r"\w[\w.-]*(/\w[\w.-]*)*")
"""Names of entries; none leads out of a folder."""

Buffer = bytes | memoryview


class ArchiveWriter:
    """Writes entries one after the other; data is streamed, never gathered. A context manager."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._zip = zipfile.ZipFile(file, "w", zipfile.ZIP_STORED)
        self.entries: dict[str, Entry] = {}

    def add(self, name: str, chunks: Iterable[Buffer], size: int) -> None:
        """Append the entry ``name`` whose ``chunks`` are ``size`` bytes in total."""
        info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
        info.file_size = size
        info.external_attr = 0o644 << 16
        zip64 = size * 1.05 > zipfile.ZIP64_LIMIT
        start = self._file.tell() + _LOCAL_HEADER + len(name.encode()) + (_ZIP64_EXTRA if zip64 else 0)
        padding = -(start + 4) % ALIGNMENT
        info.extra = struct.pack("<HH", _PADDING_ID, padding) + bytes(padding)
        digest = hashlib.sha256()
        with self._zip.open(info, "w", force_zip64=zip64) as entry:
            for chunk in chunks:
                digest.update(chunk)
                entry.write(chunk)
        self.entries[name] = Entry(digest.hexdigest(), size)

    def __enter__(self) -> ArchiveWriter:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        """Write the directory, unless an exception ended the writing."""
        if kind is None:
            self._zip.close()
        else:
            # Else it would be written whenever the object goes away, into a file that is closed by then.
            self._zip.fp = None


class Archive(Mapping[str, memoryview]):
    """The entries of a file written by :class:`ArchiveWriter`, as views of one private memory map.

    Pages are read when touched and shared with every other process that maps the file; writing to a view
    (which nothing here does) would copy the page, never change the file.

    Raises:
        LeptonError: the file cannot be read or is not such a file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with open_regular(path) as file:
                # An empty file cannot be mapped, and is no zip file either.
                infos = zipfile.ZipFile(file).infolist()
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        except OSError as error:
            raise LeptonError(
                "the artifact cannot be read",
                where=str(path),
                why=error.strerror or str(error),
                help="check the path and its permissions",
            ) from error
        except (zipfile.BadZipFile, ValueError, struct.error, NotImplementedError, EOFError, LookupError) as error:
            raise damaged(path, "it is not a zip file, or its end is missing") from error
        view = memoryview(self._map)
        self._views: dict[str, memoryview] = {}
        self._checksums = {info.filename: info.CRC for info in infos}
        end = 0
        for info in sorted(infos, key=lambda i: i.header_offset):
            start = self._start(view, info)
            if info.header_offset < end or info.filename in self._views:
                raise damaged(path, f"its entry {info.filename} lies over another one")
            end = start + info.file_size
            self._views[info.filename] = view[start:end]

    def is_whole(self, name: str) -> bool:
        """Return whether the content of an entry has the checksum (CRC-32) that the directory gives."""
        return zlib.crc32(self[name]) == self._checksums[name]

    def _start(self, view: memoryview, info: zipfile.ZipInfo) -> int:
        """Return where the data of an entry begins."""
        if not _NAME.fullmatch(info.filename):
            raise damaged(self.path, f"it has an entry {info.filename!r}, which Lepton does not write")
        at = max(0, info.header_offset)
        header = bytes(view[at : at + _LOCAL_HEADER])
        plain = info.compress_type == zipfile.ZIP_STORED and info.compress_size == info.file_size
        # Bit 0 is encryption; the upper half of the attributes is a file mode, and a link's is no plain file's.
        plain = plain and not info.flag_bits & 1 and stat.S_IFMT(info.external_attr >> 16) in (0, stat.S_IFREG)
        if at != info.header_offset or len(header) < _LOCAL_HEADER or header[:4] != b"PK\x03\x04" or not plain:
            raise damaged(self.path, f"the header of its entry {info.filename} is not what Lepton writes")
        name_size, extra_size = struct.unpack("<HH", header[26:30])
        name = bytes(view[at + _LOCAL_HEADER : at + _LOCAL_HEADER + name_size])
        start = at + _LOCAL_HEADER + name_size + extra_size
        if name != info.filename.encode() or start % ALIGNMENT or start + info.file_size > len(view):
            raise damaged(self.path, f"its entry {info.filename} does not lie where it should")
        return start

    def __getitem__(self, name: str) -> memoryview:
        if name not in self._views:
            raise damaged(self.path, f"its entry {name} is missing")
        return self._views[name]

    def __contains__(self, name: object) -> bool:
        return name in self._views

    def __iter__(self) -> Iterator[str]:
        return iter(self._views)

    def __len__(self) -> int:
        return len(self._views)


def damaged(path: Path, why: str) -> LeptonError:
    """Return the error for a file that is no artifact, or a broken one."""
    return LeptonError(
        "this is not a Lepton artifact, or it is damaged",
        where=str(path),
        why=why,
        help="compile the model again (leptonc compile MODEL -o FILE), or copy the file again",
    )
