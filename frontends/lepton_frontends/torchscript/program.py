"""A TorchScript archive as a program: its objects, its code by qualified name, and where the code came from."""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass
from typing import Any

import numpy as np

from lepton_frontends.common.archive import Archive
from lepton_frontends.common.places import is_pytorch
from lepton_frontends.torchscript.parser import parse
from lepton_frontends.torchscript.syntax import ClassDef, File, FunctionDef
from lepton_frontends.torchscript.unpickle import ScriptObject, StoredTensor, unpickle
from lepton_ir.diagnostics import LeptonError
from lepton_ir.ir.location import Location

_FRAME = re.compile(r"^(.*)\((\d+)\): ")
_TABLE = "FORMAT_WITH_STRING_TABLE"


@dataclass(frozen=True)
class Code:
    """A function or a method with the file that it stands in.

    Attributes:
        record: the record of the archive.
        definition: the syntax tree.
        owner: the class's qualified name, "" for a function.
    """

    record: str
    definition: FunctionDef
    owner: str = ""


class Program:
    """The contents of an archive.

    Attributes:
        archive: the archive.
        root: the module.
        constants: the tensors and other objects that the code calls ``CONSTANTS.c0``, ...
    """

    def __init__(self, archive: Archive) -> None:
        self.archive = archive
        self._files: dict[str, File] = {}
        self._ranges: dict[str, list[tuple[int, Location]]] = {}
        self._memory: dict[str, np.ndarray] = {}
        order = archive.text("byteorder") if "byteorder" in archive else "little"
        if order != "little":
            raise LeptonError("the archive's numbers are big-endian", archive.name, help="save it on another machine")
        self.root = self._unpickled("data.pkl")
        if not isinstance(self.root, ScriptObject):
            raise LeptonError(
                "the archive holds no module", archive.name, "its data.pkl holds tensors, as of a state dictionary",
                "save the whole model with torch.jit.save(torch.jit.script(model), path), or torch.export.save",
            )  # fmt: skip
        self.constants = self._unpickled("constants.pkl") if "constants.pkl" in archive else ()
        if not isinstance(self.constants, tuple):
            raise LeptonError("the archive's constants are no tuple", archive.name, help="save the model again")

    def again(self) -> Program:
        """Return the program as the archive has it, which code that ran has not changed."""
        fresh = Program(self.archive)
        fresh._files, fresh._ranges, fresh._memory = self._files, self._ranges, self._memory
        return fresh

    def _unpickled(self, record: str) -> Any:
        return unpickle(self.archive.read(record), f"{self.archive.name}: {record}")

    def traced_inputs(self, method: str) -> list[Any] | None:
        """Return the inputs that the method was traced with, as far as the archive keeps them."""
        if "traced_inputs.pkl" not in self.archive:
            return None
        found = self._unpickled("traced_inputs.pkl")
        given = found.get(method) if isinstance(found, dict) else None
        return given if isinstance(given, list) else None

    def array(self, tensor: StoredTensor, folder: str) -> np.ndarray:
        """Return a stored tensor's numbers, not copied where the archive allows it.

        Raises:
            LeptonError: it reaches beyond its storage.
        """
        record = f"{folder}/{tensor.storage.key}"
        if record not in self.archive:
            # Archives of older versions keep all storages in one folder.
            record = f"tensors/{tensor.storage.key}"
        if record not in self._memory:
            self._memory[record] = self.archive.array(record)
        try:
            return tensor.of(self._memory[record])
        except ValueError as error:
            raise LeptonError(
                "a tensor of the archive is damaged", f"{self.archive.name}: {record}", str(error),
                "save or download the model again",
            ) from None  # fmt: skip

    def class_of(self, name: str) -> ClassDef | None:
        """Return the definition of a class by its qualified name, None where there is none."""
        file = self._file(name)
        return None if file is None else file[1].classes.get(name.rpartition(".")[2])

    def function(self, name: str) -> Code | None:
        """Return a free function by its qualified name, None where there is none."""
        file = self._file(name)
        found = None if file is None else file[1].functions.get(name.rpartition(".")[2])
        return None if found is None or file is None else Code(file[0], found)

    def method(self, owner: str, name: str) -> Code | None:
        """Return a method of a class, None where there is none."""
        file = self._file(owner)
        cls = None if file is None else file[1].classes.get(owner.rpartition(".")[2])
        found = None if cls is None else cls.methods.get(name)
        return None if found is None or file is None else Code(file[0], found, owner)

    def _file(self, name: str) -> tuple[str, File] | None:
        folder, _, _ = name.rpartition(".")
        record = f"code/{folder.replace('.', '/')}.py"
        if record not in self.archive:
            return None
        if record not in self._files:
            self._files[record] = parse(self.archive.text(record), f"{self.archive.name}: {record}")
        return record, self._files[record]

    def place(self, record: str, start: int, line: int) -> Location:
        """Return where a part of the code came from: the user's Python file, else the archive's own code."""
        if record not in self._ranges:
            self._ranges[record] = self._source_ranges(record)
        ranges = self._ranges[record]
        at = bisect_right(ranges, start, key=lambda r: r[0]) - 1
        if at >= 0 and ranges[at][1].is_known:
            return ranges[at][1]
        return Location(f"{self.archive.name}: {record}", line=line)

    def _source_ranges(self, record: str) -> list[tuple[int, Location]]:
        """Return the debug information of one file; nothing where it is missing or of another format."""
        name = f"{record}.debug_pkl"
        if name not in self.archive:
            return []
        found = self._unpickled(name)
        if not isinstance(found, tuple) or len(found) != 3 or found[0] != _TABLE:
            return []
        texts = found[1]
        known: dict[Any, Location] = {}
        ranges = []
        try:
            for offset, source, _ in found[2]:
                (lines, file, first), start, _ = source
                key = (tuple(lines), file, first, start)
                if key not in known:
                    known[key] = _location("".join(texts[i] for i in lines), texts[file], first, start)
                ranges.append((offset, known[key]))
        except (IndexError, TypeError, ValueError):
            return []
        return ranges if all(isinstance(r[0], int) for r in ranges) else []


def _location(text: str, file: str, first: int, start: int) -> Location:
    """Return the place of a source range: a part of a function's text, or the stack of calls of a trace."""
    if file:
        return Location(file, line=int(first) + text.count("\n", 0, start))
    frames = [m for m in map(_FRAME.match, text.splitlines()) if m]
    own = [m for m in frames if not is_pytorch(m[1])]
    frame = next(iter(own or frames), None)
    return Location() if frame is None else Location(frame[1], line=int(frame[2]))
