"""Bytes that are no model, things that are no files, and messages that no parser should follow."""

from __future__ import annotations

import gzip
import os
import pickle
import socket
from pathlib import Path

from hostile_case import family, later, message, model, node, varint

DIGITS = Path(__file__).parents[2] / "examples" / "digits" / "digits.onnx"


def _named(make):
    def write(folder):
        path = folder / "model.onnx"
        make(path)
        return path

    return write


def _socket(path):
    with socket.socket(socket.AF_UNIX) as server:
        where = Path.cwd()
        os.chdir(path.parent)  # A socket's path may be 100 characters long.
        server.bind(path.name)
        os.chdir(where)


def _sparse(size, head=b""):
    def make(path):
        with path.open("wb") as file:
            file.write(head)
            file.truncate(size)

    return _named(make)


@family("bytes")
def no_models():
    relu = model([node("Relu", ["x"], ["y"])]).SerializeToString()
    return {
        "empty": b"", "one byte": b"\x08", "text": b"hello, this is no model\n" * 99, "zeros": bytes(1 << 16),
        "ones": b"\xff" * 4096, "zip": b"PK\x03\x04" + bytes(100), "png": b"\x89PNG\r\n\x1a\n" + bytes(100),
        "gzip": gzip.compress(relu), "pickle": pickle.dumps({"graph": [1, 2]}), "elf": b"\x7fELF" + bytes(400),
        "html": b"<html><body>404 not found</body></html>", "git lfs pointer": b"version https://git-lfs.github.com/spec",
        "model twice cut": relu + relu[: len(relu) // 2], "utf-16": relu.hex().encode("utf-16"),
    }  # fmt: skip


@family("bytes")
def truncated():
    data = DIGITS.read_bytes()
    return {f"digits cut at {k}/12": data[: len(data) * k // 12] for k in range(1, 12)}


@family("bytes")
def no_files():
    return {
        "a folder": _named(lambda p: p.mkdir()),
        "a fifo": _named(os.mkfifo),
        "a device": _named(lambda p: p.symlink_to("/dev/zero")),
        "an endless device": _named(lambda p: p.symlink_to("/dev/urandom")),
        "a terminal": _named(lambda p: p.symlink_to("/dev/tty")),
        "a dangling link": _named(lambda p: p.symlink_to("nowhere.onnx")),
        "a link to itself": _named(lambda p: p.symlink_to(p.name)),
        "a socket": _named(_socket),
        "kernel memory": _named(lambda p: p.symlink_to("/proc/self/mem")),
        "process environment": _named(lambda p: p.symlink_to("/proc/self/environ")),
        "3 GB of zeros": _sparse(3 << 30),
        "3 GB of unknown field": _sparse(3 << 30, b"\x08\x08" + varint(100 << 3 | 2) + varint((3 << 30) - 20)),
    }


def _nested(levels, inner):
    graph = inner
    for _ in range(levels):
        graph = message(1, message(5, varint(20 << 3) + b"\x05" + message(6, graph)))
    return graph


@family("wire")
def messages():
    head = b"\x08\x08"
    deep_type = message(2, b"")
    for _ in range(10_000):
        deep_type = message(4, message(1, deep_type))
    return {
        "branches 10000 deep": head + message(7, _nested(10_000, message(2, b"g" * 50))),
        "branches 60 deep": head + message(7, _nested(60, message(2, b"g" * 2000))),
        "types 10000 deep": head + message(7, message(11, message(1, b"x") + message(2, deep_type))),
        "field 0": head + b"\x02\x00" * 40,
        "group": head + b"\x3b\x3c" * 40,
        "wire type 7": head + b"\x3f" * 40,
        "endless number": b"\x08" + b"\xff" * 60,
        "length beyond the end": head + b"\x3a" + varint(1 << 40),
        "length of 64 bits": head + b"\x3a" + varint((1 << 64) - 1),
        "no graph": head + message(2, b"producer"),
        "graph is a number": head + b"\x38\x01" * 20,
        "no version": message(7, message(2, b"g" * 100)),
        "two million empty nodes": later(lambda: head + message(8, b"\x10\x12") + message(7, message(1, b"") * 2_000_000)),
        "five million empty nodes": later(lambda: head + message(8, b"\x10\x12") + message(7, message(1, b"") * 5_000_000)),
        "five million empty inputs": later(lambda: head + message(8, b"\x10\x12") + message(7, message(11, b"") * 5_000_000)),
        "many empty dimensions": later(lambda: head + message(8, b"\x10\x12")
        + message(7, message(11, message(1, b"x") + message(2, message(1, message(2, message(1, b"") * 4_500_000)))))),
        "ten thousand opsets": head + message(8, message(1, b"d") + b"\x10\x12") * 10_000 + message(7, message(2, b"g")),
    }  # fmt: skip
