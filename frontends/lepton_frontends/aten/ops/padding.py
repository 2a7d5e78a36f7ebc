"""Padding, and moving elements between channels and space."""

from __future__ import annotations

from typing import Any

import numpy as np

from lepton_frontends.aten.builder import AtenBuilder
from lepton_frontends.aten.ops.nonzero import whole
from lepton_frontends.aten.ops.strided import line
from lepton_frontends.aten.rules import aten_op
from lepton_frontends.aten.types import dims_of, int_of, tensor_of
from lepton_frontends.common.errors import UnsupportedError
from lepton_ir.ir.core import Value
from lepton_ir.ir.dim import Dim, product

_MODES = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def _amounts(b: AtenBuilder, rank: int, pad: Any) -> tuple[list[Dim], list[Dim]]:
    """Return how much comes before and after each axis; the list goes from the last axis to the first."""
    given = dims_of(b, pad, "padding")
    before: list[Dim] = [0] * rank
    after: list[Dim] = [0] * rank
    for i in range(len(given) // 2):
        before[rank - 1 - i], after[rank - 1 - i] = given[2 * i], given[2 * i + 1]
    return before, after


@aten_op("constant_pad_nd")
def constant_pad(b: AtenBuilder, self: Value, pad: Any, value: Any = 0) -> Value:
    before, after = _amounts(b, self.rank, pad)
    number = b.reshaped(tensor_of(b, value, self.tensor.dtype), ())
    return b.tensor_pad(self, number, pads=(*before, *after))


@aten_op("pad")
def pad(b: AtenBuilder, self: Value, pad: Any, mode: str = "constant", value: Any = None) -> Value:
    if mode == "constant":
        return constant_pad(b, self, pad, 0 if value is None else value)
    if mode not in _MODES:
        raise UnsupportedError(f'it pads in the mode "{mode}"')
    return _repeated(b, self, pad, _MODES[mode])


@aten_op("_pad_enum")
def pad_enum(b: AtenBuilder, self: Value, pad: Any, mode: Any, value: Any = None) -> Value:
    if mode == 0:
        return constant_pad(b, self, pad, 0 if value is None else value)
    return _repeated(b, self, pad, list(_MODES.values())[int_of(mode, "mode") - 1])


@aten_op("_pad_circular")
def pad_circular(b: AtenBuilder, self: Value, pad: Any) -> Value:
    return _repeated(b, self, pad, "wrap")


@aten_op("reflection_pad1d", "reflection_pad2d", "reflection_pad3d")
def reflection_pad(b: AtenBuilder, self: Value, padding: Any) -> Value:
    return _repeated(b, self, padding, "reflect")


@aten_op("replication_pad1d", "replication_pad2d", "replication_pad3d")
def replication_pad(b: AtenBuilder, self: Value, padding: Any) -> Value:
    return _repeated(b, self, padding, "edge")


def _repeated(b: AtenBuilder, x: Value, pad: Any, mode: str) -> Value:
    before, after = _amounts(b, x.rank, pad)
    for axis in range(x.rank):
        amounts = before[axis], after[axis]
        if mode != "wrap" and any(isinstance(d, int) and d < 0 for d in amounts):
            x = _cut_and_repeated(b, x, axis, *amounts, mode)
            before[axis] = after[axis] = 0
    return b.tensor_pad(x, None, pads=(*before, *after), mode=mode)


def _cut_and_repeated(b: AtenBuilder, x: Value, axis: int, before: Dim, after: Dim, mode: str) -> Value:
    """Pad one axis where it is also cut: what is cut off is repeated nevertheless."""
    size = x.shape[axis]
    place = b.sub(line(b, size + before + after), whole(b, before))
    last, zero = b.sub(whole(b, size), whole(b, 1)), b.const(np.int64(0))
    if mode == "reflect":
        place = b.sub(last, b.abs(b.sub(last, b.abs(place))))
    return b.tensor_gather(x, b.minimum(b.maximum(place, zero), last), axis=axis)


@aten_op("pixel_shuffle")
def pixel_shuffle(b: AtenBuilder, self: Value, upscale_factor: Any) -> Value:
    r, lead = int_of(upscale_factor, "factor"), self.shape[:-3]
    c, h, w = self.shape[-3:]
    x = b.reshaped(self, (product(lead), c // (r * r), r, r, h, w))
    y = b.tensor_transpose(x, perm=(0, 1, 4, 2, 5, 3))
    return b.reshaped(y, (*lead, c // (r * r), h * r, w * r))


@aten_op("pixel_unshuffle")
def pixel_unshuffle(b: AtenBuilder, self: Value, downscale_factor: Any) -> Value:
    r, lead = int_of(downscale_factor, "factor"), self.shape[:-3]
    c, h, w = self.shape[-3:]
    x = b.reshaped(self, (product(lead), c, h // r, r, w // r, r))
    y = b.tensor_transpose(x, perm=(0, 1, 3, 5, 2, 4))
    return b.reshaped(y, (*lead, c * r * r, h // r, w // r))


@aten_op("channel_shuffle", "native_channel_shuffle")
def channel_shuffle(b: AtenBuilder, self: Value, groups: Any) -> Value:
    count = int_of(groups, "number of groups")
    n, c, *rest = self.shape
    x = b.reshaped(self, (n, count, c // count, *rest))
    return b.reshaped(b.tensor_transpose(x, perm=(0, 2, 1, *range(3, x.rank))), self.shape)
