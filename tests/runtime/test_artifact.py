"""The artifact's file: what is in it, how it is written, and what happens when it is damaged."""

from __future__ import annotations

import errno
import json
import os
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from small_model import BIAS

from lepton_ir import runtime
from lepton_ir.artifact import Artifact, Manifest, TensorSpec, archive, tensors
from lepton_ir.artifact.dims import dim_from_json, dim_to_json
from lepton_ir.diagnostics import LeptonError
from lepton_ir.ir import DType, sym, tensor
from lepton_ir.ir.dim import ceildiv, dmax, floordiv, mod
from lepton_ir.runtime.host import check_host

N, S = sym("N"), sym("S")


def entries(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as file:
        return {name: file.read(name) for name in file.namelist()}


def rewrite(path: Path, change: Callable[[dict[str, bytes]], None]) -> None:
    """Write the file again with changed entries, aligned as before."""
    content = entries(path)
    change(content)
    with path.open("wb") as file, archive.ArchiveWriter(file) as writer:
        for name, data in content.items():
            writer.add(name, [data], len(data))


def edit_manifest(path: Path, **changes: object) -> None:
    def change(content: dict[str, bytes]) -> None:
        content["manifest.json"] = json.dumps(json.loads(content["manifest.json"]) | changes).encode()

    rewrite(path, change)


def test_round_trip(artifact: Artifact, saved: Path) -> None:
    opened = Artifact.open(saved)
    assert replace(opened.manifest, entries={}) == artifact.manifest
    assert opened.manifest.dynamic_dims == ("N", "S")
    assert bytes(opened.library) == artifact.library
    assert dict(opened.texts) == dict(artifact.texts)
    assert opened.path == saved
    np.testing.assert_array_equal(opened.weights["bias"], BIAS)
    assert opened.golden is not None and artifact.golden is not None
    for name, array in artifact.golden.outputs.items():
        np.testing.assert_array_equal(opened.golden.outputs[name], array)
    with pytest.raises(KeyError):
        opened.texts["none.txt"]


def test_other_tools_can_read_it(saved: Path) -> None:
    content = entries(saved)
    assert {"lib.so", "weights.safetensors", "golden.safetensors", "manifest.json"} < set(content)
    np.testing.assert_array_equal(safetensors.numpy.load(content["weights.safetensors"])["bias"], BIAS)
    manifest = json.loads(content["manifest.json"])
    assert manifest["inputs"][0] == {"name": "x", "dtype": "f32", "shape": ["N", "S", 4]}
    assert manifest["target"]["kind"] == "cpu" and manifest["versions"]["tvm"]


def test_weights_are_used_in_place(saved: Path) -> None:
    opened = Artifact.open(saved)
    bias = opened.weights["bias"]
    assert tensors.aligned(bias) is bias
    model = runtime.load(opened)
    assert model._arrays[0] is bias


def test_every_tensor_is_aligned() -> None:
    dtypes = [DType.BOOL, DType.I8, DType.F16, DType.BF16, DType.F32, DType.I64, DType.F8E4M3FN, DType.I4, DType.C128]
    arrays = {str(d): np.arange(7).astype(d.numpy) for d in dtypes}
    arrays |= {"scalar": np.array(3.0, np.float32), "empty": np.zeros((0, 3), np.float32)}
    chunks, size = tensors.encode(arrays)
    data = tensors.aligned_empty((size,), np.dtype(np.uint8))
    data[...] = np.frombuffer(b"".join(chunks), np.uint8)
    specs = {name: TensorSpec(name, tensor(a.shape, DType.of(a))) for name, a in arrays.items()}
    for name, array in tensors.decode(memoryview(data), specs).items():
        assert tensors.is_aligned(array)
        np.testing.assert_array_equal(array, arrays[name])


@pytest.mark.parametrize(
    "dim", [3, N, N * S, 2 * N + S - 1, floordiv(N, 2), ceildiv(N + 1, S), dmax(mod(N, 3), S) * N, -1 * N + 5]
)
def test_dimensions_survive_json(dim: object) -> None:
    assert dim_from_json(json.loads(json.dumps(dim_to_json(dim)))) == dim  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["", "N +", "N / 2", "open('x')", "N.x", "lambda: 1", True, 1.5, "1.5"])
def test_what_is_no_dimension(text: object) -> None:
    with pytest.raises(ValueError, match="is not a dimension"):
        dim_from_json(text)  # type: ignore[arg-type]


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(LeptonError, match="cannot be read"):
        runtime.load(tmp_path / "none.lepton")


@pytest.mark.parametrize("content", [b"", b"PK", b"hello" * 100])
def test_no_artifact(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.lepton"
    path.write_bytes(content)
    with pytest.raises(LeptonError, match="not a Lepton artifact"):
        runtime.load(path)


@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.9, 0.99, 0.9999])
def test_truncated(saved: Path, fraction: float) -> None:
    data = saved.read_bytes()
    saved.write_bytes(data[: int(len(data) * fraction)])
    with pytest.raises(LeptonError, match="damaged"):
        runtime.load(saved)


def test_any_flipped_byte_of_an_entry_is_noticed(saved: Path) -> None:
    data = saved.read_bytes()
    for name, content in entries(saved).items():
        changed = bytearray(data)
        changed[data.index(content) + len(content) // 2] ^= 0xFF
        saved.write_bytes(changed)
        with pytest.raises(LeptonError) as caught:
            runtime.load(saved)
        assert "damaged" in str(caught.value), name


@pytest.mark.parametrize("name", ["lib.so", "weights.safetensors", "manifest.json"])
def test_missing_entry(saved: Path, name: str) -> None:
    rewrite(saved, lambda content: content.pop(name))
    with pytest.raises(LeptonError, match=f"entry {name} is missing|damaged"):
        runtime.load(saved)


def test_added_entry(saved: Path) -> None:
    rewrite(saved, lambda content: content.update(extra=b"x"))
    with pytest.raises(LeptonError) as caught:
        runtime.load(saved)
    assert "it holds extra, which its manifest does not name" in str(caught.value)


def test_rewritten_by_a_zip_tool(saved: Path) -> None:
    content = entries(saved)
    with zipfile.ZipFile(saved, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in content.items():
            file.writestr(name, data)
    with pytest.raises(LeptonError, match="damaged"):
        runtime.load(saved)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format_version": 99}, "its format has version 99, this Lepton reads version 3"),
        ({"format": "other"}, "its manifest is of the format 'other'"),
        ({"format_version": "x"}, "its manifest cannot be read"),
        ({"inputs": [{"name": "x"}]}, "its manifest is not complete"),
        ({"inputs": [{"name": "x", "dtype": "f32", "shape": ["import os"]}]}, "its manifest is not complete"),
        ({"weights": [{"name": "bias", "dtype": "f32", "shape": [5]}]}, "tensor bias is not a tensor<5xf32>"),
        ({"weights": [{"name": "w", "dtype": "f32", "shape": [4]}]}, "tensor w is missing"),
        ({"machine": "riscv64"}, "its code is for riscv64 processors"),
        ({"target": {"kind": "cpu", "features": ["avx2", "sse9"]}}, "its code uses sse9, which this processor lacks"),
        ({"versions": {"tvm": "0.1.0"}}, "it was compiled with TVM 0.1.0, and here is TVM"),
    ],
)
def test_manifest_does_not_fit(saved: Path, changes: dict[str, object], message: str) -> None:
    edit_manifest(saved, **changes)
    with pytest.raises(LeptonError) as caught:
        runtime.load(saved)
    assert message in str(caught.value)


def test_all_that_does_not_fit_is_named(artifact: Artifact) -> None:
    other = replace(artifact, manifest=replace(artifact.manifest, machine="s390x", versions={"tvm": "9.9"}))
    with pytest.raises(LeptonError) as caught:
        check_host(other, frozenset({"nothing"}))
    text = str(caught.value)
    assert "s390x" in text and "TVM 9.9" in text and "lacks" in text and "--target" in text


def test_processor_features_by_other_names(artifact: Artifact) -> None:
    arm = replace(artifact, manifest=replace(artifact.manifest, target={"kind": "cpu", "features": ["neon"]}))
    check_host(arm, frozenset({"asimd"}))
    check_host(arm, frozenset())


def test_gpu_artifact_without_a_gpu(artifact: Artifact) -> None:
    target = {"kind": "cuda", "arch": "sm_90", "features": []}
    with pytest.raises(LeptonError) as caught:
        runtime.load(replace(artifact, manifest=replace(artifact.manifest, target=target)))
    assert "this machine has no cuda device" in str(caught.value)


class FullDisk:
    """Breaks writing with an exception after a few entries."""

    def __init__(self, error: BaseException) -> None:
        self._left = 2
        self._error = error
        self._add = archive.ArchiveWriter.add

    def __call__(self, writer: archive.ArchiveWriter, *args: object) -> None:
        self._left -= 1
        if self._left < 0:
            raise self._error
        self._add(writer, *args)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), LeptonError),
        (KeyboardInterrupt(), KeyboardInterrupt),
        (MemoryError(), MemoryError),
    ],
)
def test_interrupted_writing_leaves_the_old_file(
    artifact: Artifact,
    saved: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    expected: type[BaseException],
) -> None:
    before = saved.read_bytes()
    full = FullDisk(error)
    monkeypatch.setattr(archive.ArchiveWriter, "add", lambda *args: full(*args))
    with pytest.raises(expected):
        artifact.save(saved)
    assert saved.read_bytes() == before
    assert [p.name for p in saved.parent.iterdir()] == [saved.name]


def test_folder_that_does_not_exist(artifact: Artifact, tmp_path: Path) -> None:
    with pytest.raises(LeptonError) as caught:
        artifact.save(tmp_path / "none" / "x.lepton")
    assert "No such file or directory" in str(caught.value)


def test_replacing_a_file_that_is_in_use(artifact: Artifact, saved: Path) -> None:
    model = runtime.load(saved)
    artifact.save(saved)
    assert model.check_golden() < 1e-6
    assert os.access(saved, os.R_OK)


def test_weights_must_be_those_of_the_manifest(artifact: Artifact) -> None:
    with pytest.raises(ValueError, match="not those of the manifest"):
        Artifact(artifact.manifest, b"", {})


def test_without_a_golden_pair(artifact: Artifact, tmp_path: Path) -> None:
    opened = replace(artifact, golden=None).save(tmp_path / "x.lepton")
    assert opened.golden is None
    with pytest.raises(LeptonError, match="no golden"):
        runtime.load(opened).check_golden()


def test_manifest_survives_json(artifact: Artifact) -> None:
    assert isinstance(Manifest.from_json(artifact.manifest.to_json()), Manifest)
    with pytest.raises(KeyError):
        Manifest.from_json({})
