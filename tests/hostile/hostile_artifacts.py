"""Artifacts that are damaged, or made to harm."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import tempfile
import zipfile
from functools import cache
from pathlib import Path

import numpy as np
from hostile_case import ARTIFACT, HARMLESS, family, model, node

from lepton_ir.artifact.archive import ArchiveWriter

MANIFEST = "manifest.json"


@cache
def good():
    """Return the bytes of a small artifact, and its entries by name."""
    weights = {"w": np.arange(16, dtype=np.float32).reshape(4, 4)}
    with tempfile.TemporaryDirectory() as folder:
        source, path = Path(folder, "m.onnx"), Path(folder, "m.lepton")
        source.write_bytes(model([node("MatMul", ["x", "w"], ["y"])], weights=weights).SerializeToString())
        # In a process of its own: this one is going to be forked, and must not have TVM's threads.
        command = [sys.executable, "-m", "lepton_ir.cli.main", "compile", str(source), "-o", str(path)]
        subprocess.run(command, check=True, capture_output=True)
        with zipfile.ZipFile(path) as archive:
            entries = {i.filename: archive.read(i) for i in archive.infolist()}
        return path.read_bytes(), entries


def rewritten(change=None, entries=None, sign=True):
    """Return what writes an artifact with another manifest or other entries, whose hashes are right if ``sign``."""

    def write(folder):
        held = dict(good()[1])
        manifest = json.loads(held.pop(MANIFEST))
        held.update(entries(held) if entries is not None else {})
        path = folder / "model.lepton"
        with path.open("wb") as file, ArchiveWriter(file) as writer:
            for name, data in held.items():
                writer.add(name, [data], len(data))
            if sign:
                manifest["entries"] = {n: {"sha256": e.sha256, "size": e.size} for n, e in writer.entries.items()}
            if change is not None:
                replaced = change(manifest)
                manifest = manifest if replaced is None else replaced
            data = manifest if isinstance(manifest, bytes) else json.dumps(manifest).encode()
            writer.add(MANIFEST, [data], len(data))
        return path

    return write


def bytes_of(change):
    """Return what writes the artifact's bytes after ``change``."""

    def write(folder):
        path = folder / "model.lepton"
        data = bytearray(good()[0])
        replaced = change(data)
        path.write_bytes(bytes(data if replaced is None else replaced))
        return path

    return write


def zipped(make):
    """Return what writes a zip file of the artifact's entries by ``make(zip, entries)``."""

    def write(folder):
        path = folder / "model.lepton"
        with zipfile.ZipFile(path, "w") as archive:
            make(archive, good()[1])
        return path

    return write


def put(*path, value):
    """Return a change of the manifest: sets what is at ``path``."""

    def change(manifest):
        target = manifest
        for key in path[:-1]:
            target = target[key]
        target[path[-1]] = value

    return change


def drop(*path):
    def change(manifest):
        target = manifest
        for key in path[:-1]:
            target = target[key]
        del target[path[-1]]

    return change


@family("artifact bytes", ARTIFACT)
def damaged_bytes():
    whole, entries = good()
    cuts = {f"cut at {k}/8": bytes_of(lambda data, k=k: data[: len(data) * k // 8]) for k in range(1, 8)}
    flips = {
        f"bit flipped in {name} at {k}/4": _flipped(whole.index(data) + len(data) * k // 4)
        for name, data in entries.items()
        for k in range(4)
    }
    marks = {b"PK\x05\x06": "end", b"PK\x01\x02": "directory", b"PK\x03\x04": "header"}
    harmed = {f"no {word}": bytes_of(lambda data, m=mark: data.replace(m, b"QK\0\0")) for mark, word in marks.items()}
    return cuts | flips | harmed | {
        "text": lambda folder: _written(folder, b"not an artifact " * 100),
        "a model": lambda folder: _written(folder, model([node("Relu", ["x"], ["y"])]).SerializeToString()),
        "joined twice": bytes_of(lambda data: data + data), "zeros": bytes_of(lambda data: bytes(len(data))),
        "huge entry": bytes_of(lambda data: _patched(data, 24, 0x7FFFFFFF)), "huge packed entry": bytes_of(lambda data: _patched(data, 20, 0x7FFFFFFF)),
        "offset of the next": bytes_of(lambda data: _patched(data, 42, 0)),
        "offset beyond the end": bytes_of(lambda data: _patched(data, 42, 0x7FFFFFF0)),
    }  # fmt: skip


def _flipped(at):
    def change(data):
        data[at % len(data)] ^= 0x10

    return bytes_of(change)


@family("artifact bytes", HARMLESS)
def flips_anywhere():
    # Some bits of the zip format mean nothing, such as times.
    size = len(good()[0])
    return {f"bit flipped at {k}/24": _flipped(size * k // 24 + 50) for k in range(24)}


def _written(folder, data):
    path = folder / "model.lepton"
    path.write_bytes(data)
    return path


def _patched(data, field, value):
    """Change a field of the second entry in the directory."""
    first = data.index(b"PK\x01\x02")
    struct.pack_into("<I", data, data.index(b"PK\x01\x02", first + 4) + field, value)


@family("artifact zip", ARTIFACT)
def zips():
    def link(archive, entries):
        for name, data in entries.items():
            entry = zipfile.ZipInfo(name)
            entry.external_attr = 0o120777 << 16 if name == "lib.so" else 0o644 << 16
            archive.writestr(entry, b"/etc/passwd" if name == "lib.so" else data)

    def bomb(archive, entries):
        for name, data in entries.items():
            packed = name == "weights.safetensors"
            archive.writestr(name, bytes(1 << 28) if packed else data, zipfile.ZIP_DEFLATED if packed else None)

    def extra(name, data=b"extra"):
        return rewritten(entries=lambda held: {name: data})

    return {
        "empty": zipped(lambda archive, entries: None),
        "compressed": zipped(lambda a, e: [a.writestr(n, d, zipfile.ZIP_DEFLATED) for n, d in e.items()]),
        "bomb": zipped(bomb), "links": zipped(link), "not aligned": zipped(lambda a, e: [a.writestr(n, d) for n, d in e.items()]),
        "ten thousand entries": zipped(lambda a, e: [a.writestr(f"text/{i}", b"") for i in range(10_000)]),
        "path out": extra("../../evil"), "absolute path": extra("/etc/evil"), "path in text": extra("text/../../evil"),
        "backslash": extra("text\\evil"), "escape": extra("text/\x1b[31m"), "space": extra(" "), "folder": extra("folder/", b""),
        "unsigned": rewritten(entries=lambda held: {"text/new.txt": b"new"}, sign=False),
        "no manifest": zipped(lambda a, e: [a.writestr(n, d) for n, d in e.items() if n != MANIFEST]),
        "library is empty": rewritten(entries=lambda held: {"lib.so": b""}, change=put("machine", value="other")),
        "weights are empty": rewritten(entries=lambda held: {"weights.safetensors": b""}),
        "weights are text": rewritten(entries=lambda held: {"weights.safetensors": b"text" * 40}),
        "weights of a huge header": rewritten(entries=lambda held: {"weights.safetensors": struct.pack("<Q", 1 << 62) + bytes(99)}),
        "weights of a deep header": rewritten(entries=lambda held: {"weights.safetensors": _safetensors(b"[" * 100_000)}),
        "weights of a list": rewritten(entries=lambda held: {"weights.safetensors": _safetensors(b"[1, 2]")}),
        **{f"weights with {what}": rewritten(entries=lambda held, e=entry: {"weights.safetensors": _tensors(held, e)})
           for what, entry in {
               "offsets reversed": {"data_offsets": [64, 0]}, "offsets beyond": {"data_offsets": [0, 1 << 40]},
               "negative offsets": {"data_offsets": [-64, 0]}, "offsets as text": {"data_offsets": "0-64"},
               "one offset": {"data_offsets": [64]}, "fractions": {"data_offsets": [0, 64.0]},
               "a negative shape": {"shape": [-4, -4]}, "an overflowing shape": {"shape": [1 << 32, 1 << 32]},
               "a shape of text": {"shape": "4x4"}, "no shape": {"shape": None}, "another shape": {"shape": [16]},
           }.items()},
        "golden is empty": rewritten(entries=lambda held: {"golden.safetensors": b""}),
        "golden is text": rewritten(entries=lambda held: {"golden.safetensors": b"[]" * 99}),
    }  # fmt: skip


def _safetensors(header):
    return struct.pack("<Q", len(header)) + header + bytes(4096)


def _tensors(held, change):
    (size,) = struct.unpack("<Q", held["weights.safetensors"][:8])
    header = json.loads(held["weights.safetensors"][8 : 8 + size])
    name = next(n for n in header if not n.startswith("__"))
    header[name].update(change)
    return _safetensors(json.dumps(header).encode())


@family("manifest", ARTIFACT)
def manifests():
    required = sorted(set(json.loads(good()[1][MANIFEST])) - {"dynamic_dims"})
    kinds = {"text": "x", "number": 7, "nothing": None, "list": [1], "object": {"a": 1}, "true": True}
    fit = {str: "text", int: "number", list: "list", dict: "object"}
    whole = json.loads(good()[1][MANIFEST])
    cases = {f"without {key}": rewritten(drop(key)) for key in required}
    for key in required:
        for what, value in kinds.items():
            if what != fit[type(whole[key])] or (key in ("inputs", "outputs", "weights") and what == "list"):
                cases[f"{key} is {what}"] = rewritten(put(key, value=value))
    sizes = {"negative": -2, "a fraction": 2.5, "true": True, "nothing": None, "huge": 1 << 64, "code": "__import__('os')",
             "a call": "exec('1')", "deep": "-" * 3000 + "N", "many brackets": "(" * 300 + "N" + ")" * 300,
             "a division by 0": "floordiv(N, 0)", "a power": "N**999", "long": "N+" * 100_000 + "N",
             "a product of sums": "*".join(f"(A{i}+B{i})" for i in range(60)), "a string": "'N'", "empty": "", "a float": "1.5",
             "a tower": "mod(" * 100 + "N" + ",7)" * 100, "a list": [1], "a comparison": "N<3"}  # fmt: skip
    for what, value in sizes.items():
        cases[f"an input's size is {what}"] = rewritten(put("inputs", 0, "shape", 0, value=value))
    return cases | {
        "an input's type": rewritten(put("inputs", 0, "dtype", value="f33")), "an input without a name": rewritten(drop("inputs", 0, "name")),
        "an input's rank": rewritten(put("inputs", 0, "shape", value=[1] * 1000)),
        "a weight's shape": rewritten(put("weights", 0, "shape", value=[1 << 40])), "a weight's name": rewritten(put("weights", 0, "name", value="../w")),
        "entry sizes": rewritten(put("entries", "lib.so", value={"sha256": "0" * 64, "size": -1})),
        "entry hash": rewritten(put("entries", "lib.so", "sha256", value="0" * 64)), "entry missing": rewritten(drop("entries", "lib.so")),
        "entry beside": rewritten(put("entries", "other.so", value={"sha256": "0" * 64, "size": 1})),
        "format": rewritten(put("format", value="\x1b[31mevil")), "version 99": rewritten(put("format_version", value=99)),
        "version 1.5": rewritten(put("format_version", value=1.5)), "features": rewritten(put("target", "features", value=[[1]])),
        "feature text": rewritten(put("target", "features", value="avx")), "kind": rewritten(put("target", "kind", value=[])),
        "tvm version": rewritten(put("versions", "tvm", value=27)), "kernels": rewritten(put("kernels", value={"k": 1})),
        "conditions": rewritten(put("conditions", value=[{"left": "N", "relation": "<", "right": 1, "where": ""}])),
        "condition divides by 0": rewritten(put("conditions", value=[{"left": "floordiv(N, 0)", "relation": "<=", "right": 1, "where": ""}])),
        "not JSON": rewritten(lambda m: b"{not json"), "a list": rewritten(lambda m: b"[1, 2]"), "nested": rewritten(lambda m: b"[" * 200_000),
        "a number of 10000 digits": rewritten(lambda m: b'{"format_version": ' + b"9" * 10_000 + b"}"), "not UTF-8": rewritten(lambda m: b"\xff\xfe" * 40),
        "null": rewritten(lambda m: b"null"),
    }  # fmt: skip
