"""The artifact in memory and in its file."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from lepton_ir.artifact import tensors
from lepton_ir.artifact.archive import Archive, ArchiveWriter, damaged
from lepton_ir.artifact.manifest import FORMAT, FORMAT_VERSION, Manifest, TensorSpec, typed
from lepton_ir.diagnostics import LeptonError
from lepton_ir.files import written_aside

MANIFEST = "manifest.json"
LIBRARY = "lib.so"
WEIGHTS = "weights.safetensors"
GOLDEN = "golden.safetensors"
TEXTS = "text/"


@dataclass(frozen=True)
class Golden:
    """Inputs and the outputs that the reference gives for them, by name."""

    inputs: Mapping[str, np.ndarray]
    outputs: Mapping[str, np.ndarray]

    def by_key(self) -> dict[str, np.ndarray]:
        """Return all arrays under the keys that they have in the file."""
        arrays = {f"input:{name}": array for name, array in self.inputs.items()}
        return arrays | {f"output:{name}": array for name, array in self.outputs.items()}


@dataclass(frozen=True)
class Artifact:
    """A compiled model.

    Attributes:
        manifest: what it holds, see :class:`Manifest`.
        library: the shared library.
        weights: the weights by name, in the order of the manifest; memory-mapped where the artifact was opened.
        texts: readable forms by file name: the model's IR, Relax, TensorIR, tuning logs.
        golden: an input/output pair to check an installation with, or None.
        path: the file it was opened from, or None.
    """

    manifest: Manifest
    library: bytes | memoryview
    weights: Mapping[str, np.ndarray]
    texts: Mapping[str, str] = field(default_factory=dict)
    golden: Golden | None = None
    path: Path | None = None

    def __post_init__(self) -> None:
        named = [spec.name for spec in self.manifest.weights]
        if named != list(self.weights):
            raise ValueError("the weights are not those of the manifest, in its order")

    def save(self, path: str | os.PathLike[str]) -> Artifact:
        """Write the artifact to ``path`` and return it as opened from there.

        The file appears under its name only when it is complete; on any failure nothing is left behind.

        Raises:
            LeptonError: the file cannot be written.
        """
        target = Path(path)
        try:
            with written_aside(target) as file:
                self._write(file)
        except OSError as error:
            raise LeptonError(
                "the artifact cannot be written",
                where=str(target),
                why=error.strerror or str(error),
                help="check the folder, its permissions and the free space; nothing was left behind",
            ) from error
        return Artifact.open(target, verify=False)

    def _write(self, file: BinaryIO) -> None:
        with ArchiveWriter(file) as writer:
            writer.add(LIBRARY, [self.library], len(self.library))
            writer.add(WEIGHTS, *tensors.encode(self.weights))
            if self.golden is not None:
                writer.add(GOLDEN, *tensors.encode(self.golden.by_key()))
            for name, text in self.texts.items():
                data = text.encode()
                writer.add(TEXTS + name, [data], len(data))
            manifest = replace(self.manifest, entries=dict(writer.entries))
            data = json.dumps(manifest.to_json(), indent=1).encode()
            writer.add(MANIFEST, [data], len(data))

    @staticmethod
    def open(path: str | os.PathLike[str], *, verify: bool = True) -> Artifact:
        """Open the artifact at ``path``; weights stay in the file and are mapped into memory.

        Args:
            path: the file.
            verify: compare every entry with the content hash in the manifest.

        Raises:
            LeptonError: the file is missing, is no artifact, is of another version, or is damaged.
        """
        archive = Archive(Path(path))
        manifest = _read_manifest(archive)
        if verify:
            _check_hashes(archive, manifest)
        try:
            return Artifact(
                manifest=manifest,
                library=archive[LIBRARY],
                weights=tensors.decode(archive[WEIGHTS], {spec.name: spec for spec in manifest.weights}),
                texts=_Texts(archive),
                golden=_read_golden(archive, manifest),
                path=archive.path,
            )
        except (ValueError, KeyError, TypeError) as error:
            raise damaged(archive.path, str(error)) from error


class _Texts(Mapping[str, str]):
    """The texts of an opened artifact, decoded when asked for."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive

    def __getitem__(self, name: str) -> str:
        if TEXTS + name not in self._archive:
            raise KeyError(name)
        return str(self._archive[TEXTS + name], "utf-8", "replace")

    def __iter__(self) -> Iterator[str]:
        return (name.removeprefix(TEXTS) for name in self._archive if name.startswith(TEXTS))

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _read_manifest(archive: Archive) -> Manifest:
    if not archive.is_whole(MANIFEST):
        raise damaged(archive.path, f"the content of {MANIFEST} is not what was written")
    try:
        data = json.loads(bytes(archive[MANIFEST]))
        found, version = data["format"], typed(data, "format_version", int)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise damaged(archive.path, "its manifest cannot be read") from error
    if found != FORMAT:
        raise damaged(archive.path, f"its manifest is of the format {found!r}")
    if version != FORMAT_VERSION:
        raise LeptonError(
            "the artifact is of another version",
            where=str(archive.path),
            why=f"its format has version {version}, this Lepton reads version {FORMAT_VERSION}",
            help="compile the model again with this Lepton, or use the Lepton that it was compiled with: "
            + _version_of(data),
        )
    try:
        return Manifest.from_json(data)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise damaged(archive.path, f"its manifest is not complete: {error}") from error


def _version_of(data: Mapping[str, Any]) -> str:
    versions = data.get("versions")
    return str(versions.get("lepton", "unknown")) if isinstance(versions, Mapping) else "unknown"


def _check_hashes(archive: Archive, manifest: Manifest) -> None:
    unknown = set(archive) - set(manifest.entries) - {MANIFEST}
    if unknown:
        raise damaged(archive.path, f"it holds {', '.join(sorted(unknown))}, which its manifest does not name")
    for name, entry in manifest.entries.items():
        data = archive[name]
        if len(data) != entry.size or sha256(data).hexdigest() != entry.sha256:
            raise damaged(archive.path, f"the content of {name} is not what was written")


def _read_golden(archive: Archive, manifest: Manifest) -> Golden | None:
    if GOLDEN not in archive:
        return None
    inputs = {f"input:{spec.name}": spec for spec in manifest.inputs if isinstance(spec, TensorSpec)}
    outputs = {f"output:{spec.name}": spec for spec in manifest.outputs if isinstance(spec, TensorSpec)}
    arrays = tensors.decode(archive[GOLDEN], inputs | outputs)
    return Golden(
        {spec.name: arrays[key] for key, spec in inputs.items()},
        {spec.name: arrays[key] for key, spec in outputs.items()},
    )
