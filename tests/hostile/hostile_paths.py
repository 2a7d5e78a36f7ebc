"""Tensor data in files: which files, and which part of them."""

from __future__ import annotations

import os

from hostile_case import ACCEPTED, F32, With, family, model, node, subgraph
from onnx import TensorProto, helper

SECRET = b"SECRET-CONTENT-OF-ANOTHER-FILE!!"
W = [2, 4]


def external(name="w", **entries):
    """Return a tensor of 32 bytes whose data is external."""
    tensor = TensorProto(name=name, data_type=F32, dims=W, data_location=TensorProto.EXTERNAL)
    for key, value in entries.items():
        tensor.external_data.add(key=key.rstrip("_"), value=value)
    return tensor


def adding(tensor):
    return model([node("Add", ["x", "w"], ["y"], name="add")], weights={"w": tensor})


def placed(location, prepare=lambda folder: None, build=adding, **entries):
    """Return what writes a model in ``inner`` of a folder, with a secret beside it."""

    def write(folder):
        (folder / "secret").write_bytes(SECRET)
        inner = folder / "inner"
        inner.mkdir()
        prepare(inner)
        where = location(folder) if callable(location) else location
        (inner / "model.onnx").write_bytes(build(external(location=where, **entries)).SerializeToString())
        return inner / "model.onnx"

    return write


def _data(folder, name="w.bin", data=bytes(range(32))):
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(data)


def _linked_folder(folder):
    (folder / "sub").symlink_to("..")


def _unused_function(tensor):
    body = [node("Constant", [], ["r"], value=tensor)]
    function = helper.make_function("acme", "F", [], ["r"], body, [helper.make_opsetid("", 18)])
    return model([node("Relu", ["x"], ["y"])], functions=[function], domains=["acme"])


def _untaken_branch(tensor):
    other = subgraph([node("Constant", [], ["r"], value=tensor)])
    taken = subgraph([node("Relu", ["x"], ["r"])])
    nodes = [node("Constant", [], ["c"], value=helper.make_tensor("c", TensorProto.BOOL, [], [True])),
             node("If", ["c"], ["y"], then_branch=taken, else_branch=other)]  # fmt: skip
    return model(nodes)


@family("paths")
def outside():
    return {
        "parent": placed("../secret"),
        "parent in the middle": placed("a/../../secret", lambda f: (f / "a").mkdir()),
        "absolute": placed(lambda f: str(f / "secret")),
        "etc": placed("/etc/passwd"),
        "environment": placed("/proc/self/environ"),
        "backslashes": placed("..\\secret"),
        "link": placed("w.bin", lambda f: (f / "w.bin").symlink_to("../secret")),
        "link to a link": placed(
            "w.bin", lambda f: ((f / "v.bin").symlink_to("../secret"), (f / "w.bin").symlink_to("v.bin"))
        ),
        "link to the root": placed("w.bin", lambda f: (f / "w.bin").symlink_to("/etc/passwd")),
        "linked folder": placed("sub/secret", _linked_folder),
        "hard link": placed("w.bin", lambda f: os.link(f.parent / "secret", f / "w.bin")),
        "circular link": placed("w.bin", lambda f: (f / "w.bin").symlink_to("w.bin")),
        "fifo": placed("w.bin", lambda f: os.mkfifo(f / "w.bin")),
        "folder": placed("sub", lambda f: (f / "sub").mkdir()),
        "device": placed("w.bin", lambda f: (f / "w.bin").symlink_to("/dev/zero")),
        "empty": placed(""),
        "dot": placed("."),
        "slash": placed("/"),
        "trailing slash": placed("w.bin/", _data),
        "nul": placed("w.bin\0", _data),
        "nul first": placed("\0w.bin", _data),
        "only nul": placed("\0", _data),
        "missing": placed("w.bin"),
        "too long": placed("w" * 3000),
        "no location": placed("w.bin", _data, lambda t: adding(external(offset="0"))),
        "home": placed("~/secret"),
        "url": placed("file:///etc/passwd"),
        "unused function": placed("../secret", build=_unused_function),
        "untaken branch": placed("../secret", build=_untaken_branch),
        "unused weight": placed(
            "../secret", build=lambda t: model([node("Relu", ["x"], ["y"])], weights={"unused": t})
        ),
    }


@family("paths", ACCEPTED)
def inside():
    return {
        "beside": placed("w.bin", _data),
        "below": placed("sub/w.bin", lambda f: _data(f, "sub/w.bin")),
        "dot slash": placed("./w.bin", _data),
        "link that stays": placed("w.bin", lambda f: (_data(f, "v.bin"), (f / "w.bin").symlink_to("v.bin"))),
        "spaces and brackets": placed("a [b] (c).bin", lambda f: _data(f, "a [b] (c).bin")),
    }


@family("bounds")
def bounds():
    def bad(**entries):
        return placed("w.bin", _data, **entries)

    return {
        "negative offset": bad(offset="-8", length="32"),
        "negative length": bad(offset="0", length="-1"),
        "offset beyond the end": bad(offset="64", length="32"),
        "length beyond the end": bad(offset="8", length="32"),
        "offset of 64 bits": bad(offset=str((1 << 64) - 8), length="32"),
        "sum overflows": bad(offset=str((1 << 63) - 8), length=str((1 << 63) - 8)),
        "huge numbers": bad(offset="9" * 4000, length="32"),
        "no number": bad(offset="zero", length="32"),
        "hexadecimal": bad(offset="0x0", length="32"),
        "exponent": bad(offset="0e0", length="32"),
        "spaces": bad(offset=" 0 ", length="32"),
        "underscore": bad(offset="0_0", length="32"),
        "other digits": bad(offset="٠", length="32"),
        "too short": bad(offset="0", length="31"),
        "longer than the tensor": placed("w.bin", lambda f: _data(f, data=bytes(64)), offset="0", length="33"),
        "zero length": bad(offset="0", length="0"),
        "truncated without length": placed("w.bin", lambda f: _data(f, data=bytes(31))),
        "empty file": placed("w.bin", lambda f: _data(f, data=b"")),
        "described twice": bad(offset="0", length="32", offset_="8"),
        "and raw data": placed(
            "w.bin", _data, lambda t: adding(TensorProto.FromString(t.SerializeToString() + b"\x4a\x20" + bytes(32)))
        ),
    }


@family("bounds", ACCEPTED)
def good_bounds():
    def written(folder):
        path = placed("w.bin", lambda f: _data(f.parent / "data"))(folder)
        return path

    return {
        "offset": placed("w.bin", lambda f: _data(f, data=bytes(range(64))), offset="32", length="32"),
        "misaligned": placed("w.bin", lambda f: _data(f, data=bytes(range(64))), offset="3", length="32"),
        "without length": placed("w.bin", lambda f: _data(f, data=bytes(range(64))), offset="32"),
        "another folder": With(written, options=("--external-data-root", "data"), reference="the interpreter"),
    }


@family("bounds")
def another_folder():
    return {
        "parent of the other folder": With(placed("../secret"), options=("--external-data-root", "inner")),
        "other folder is missing": With(placed("w.bin", _data), options=("--external-data-root", "nowhere")),
        "other folder instead of the own": With(
            placed("w.bin", lambda f: (_data(f), (f.parent / "data").mkdir())),
            options=("--external-data-root", "data"),
        ),
    }
