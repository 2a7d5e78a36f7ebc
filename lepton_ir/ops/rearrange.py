"""Moving elements between channels and space."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lepton_ir.ir.builder import Builder
from lepton_ir.ir.core import OpResult, Value
from lepton_ir.ir.dim import Dim
from lepton_ir.ir.opdef import FusionKind, InferenceError, Operation, attribute, operand, result
from lepton_ir.ir.types import Type
from lepton_ir.ops.support import Array, require_positive, require_rank


class DepthToSpace(Operation):
    """Blocks of channels become blocks of space: [N, C, H, W] -> [N, C / b^2, H * b, W * b]."""

    name = "nn.depth_to_space"
    fusion = FusionKind.INJECTIVE
    x: Value = operand("[N, C, H, W]")
    blocksize = attribute(int)
    mode = attribute(str, default="DCR", doc='"DCR": the block is the outer part of the channels; "CRD": the inner')
    y: OpResult = result()

    def infer(self) -> Type:
        require_rank("the operand of nn.depth_to_space", self.x.tensor, 4)
        require_positive("blocksize of nn.depth_to_space", (self.blocksize,))
        n, c, h, w = self.x.shape
        block = self.blocksize
        if isinstance(c, int) and c % block**2:
            raise InferenceError(f"{c} channels cannot be split into blocks of {block} x {block}")
        return self.x.tensor.with_shape((n, c // block**2, h * block, w * block))

    def verify(self) -> None:
        if self.mode not in ("DCR", "CRD"):
            raise InferenceError(f'mode of nn.depth_to_space must be "DCR" or "CRD", got "{self.mode}"')

    def _apart(self, shape: Sequence[Dim]) -> tuple[tuple[Dim, ...], tuple[int, ...]]:
        """Return the shape with blocks as axes of their own and the order that moves them into space."""
        n, c, h, w = shape
        block = self.blocksize
        depth = c // block**2
        if self.mode == "DCR":
            return (n, block, block, depth, h, w), (0, 3, 4, 1, 5, 2)
        return (n, depth, block, block, h, w), (0, 1, 4, 2, 5, 3)

    def evaluate(self, x: Array) -> Array:
        apart, perm = self._apart(x.shape)
        n, c, h, w = x.shape
        block = self.blocksize
        return x.reshape(apart).transpose(perm).reshape(n, c // block**2, h * block, w * block)

    def decompose(self, b: Builder) -> Sequence[Value]:
        apart, perm = self._apart(self.x.shape)
        moved = b.tensor_transpose(b.tensor_reshape(self.x, shape=apart), perm=perm)
        return [b.tensor_reshape(moved, shape=self.y.shape)]


class SpaceToDepth(Operation):
    """Blocks of space become channels: [N, C, H, W] -> [N, C * b^2, H / b, W / b]."""

    name = "nn.space_to_depth"
    fusion = FusionKind.INJECTIVE
    x: Value = operand("[N, C, H, W]")
    blocksize = attribute(int)
    y: OpResult = result()

    def infer(self) -> Type:
        require_rank("the operand of nn.space_to_depth", self.x.tensor, 4)
        require_positive("blocksize of nn.space_to_depth", (self.blocksize,))
        n, c, h, w = self.x.shape
        block = self.blocksize
        for what, d in (("height", h), ("width", w)):
            if isinstance(d, int) and d % block:
                raise InferenceError(f"the {what} {d} cannot be split into blocks of {block}")
        return self.x.tensor.with_shape((n, c * block**2, h // block, w // block))

    def evaluate(self, x: Array) -> Array:
        n, c, h, w = x.shape
        block = self.blocksize
        apart = x.reshape(n, c, h // block, block, w // block, block).transpose(0, 3, 5, 1, 2, 4)
        return np.reshape(apart, (n, c * block**2, h // block, w // block))

    def decompose(self, b: Builder) -> Sequence[Value]:
        n, c, h, w = self.x.shape
        block = self.blocksize
        apart = b.tensor_reshape(self.x, shape=(n, c, h // block, block, w // block, block))
        return [b.tensor_reshape(b.tensor_transpose(apart, perm=(0, 3, 5, 1, 2, 4)), shape=self.y.shape)]
