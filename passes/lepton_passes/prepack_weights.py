"""Packing of constant weights for vector units."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lepton_ir.ir import Builder, Constant, Module, Value
from lepton_ir.ir.dim import Dim, product
from lepton_ir.ops.conv import pack_weight
from lepton_ir.ops.linalg import pack_columns
from lepton_ir.passes import Pass, PassContext, register_pass
from lepton_ir.rewrite import constant_of


@register_pass("prepack-weights")
@dataclass(frozen=True)
class PrepackWeights(Pass):
    """Lay constant weights of convolutions and products out in panels as wide as a register tile.

    ``nn.conv`` becomes ``nn.conv_packed`` where it is channels-last, ``linalg.matmul`` by a constant matrix becomes
    ``linalg.matmul_packed``. One weight is packed at a time, equal ones once, and the original is let go.
    """

    legalizes = True

    def run(self, module: Module, ctx: PassContext) -> bool:
        packer = _Packer(ctx)
        before = ctx.control.done
        for op in list(module.walk()):
            make = {"nn.conv": packer.conv, "linalg.matmul": packer.matmul}.get(op.name)
            new = make(op) if make is not None else None
            if new is None:
                continue
            if not ctx.permit(self.name, op):
                break
            weight = op.operands[1]
            op.replace_with([new(Builder.before_op(op))])
            if weight is not None and weight.op is not None and not weight.is_used:
                weight.op.erase()
            ctx.count(self.name, "packed")
        return ctx.control.done != before


@dataclass
class _Packer:
    ctx: PassContext
    done: dict[tuple[Any, ...], Constant] = field(default_factory=dict)

    def packed(self, weight: Constant, how: str, panel: int, transpose: bool = False) -> Constant:
        """Return the packed weight, made once for equal ones."""
        key = (weight, how, panel, transpose)
        if key not in self.done:
            array = weight.array.T if transpose else weight.array
            if how == "depthwise":
                array = np.ascontiguousarray(np.moveaxis(array[:, 0], 0, -1))
            else:
                array = pack_weight(array, panel) if how == "conv" else pack_columns(array, panel)
            self.done[key] = Constant(array, weight.name)
        return self.done[key]

    def conv(self, op: Any) -> Any:
        """Return what builds the packed convolution, None where it stays as it is."""
        weight = constant_of(op.w)
        if weight is None or op.layout != "NHWC" or not op.x.tensor.dtype.is_float:
            return None
        outputs, inputs, *kernel = weight.array.shape
        depthwise = op.group == outputs and inputs == 1 and op.group > 1
        panel = 0 if depthwise else self.conv_panel(op, outputs // op.group, inputs * int(np.prod(kernel)))
        packed = self.packed(weight, "depthwise" if depthwise else "conv", panel)
        attributes = {k: v for k, v in op.attributes.items() if k != "layout"}

        def build(b: Builder) -> Value:
            w = b.const(packed)
            result: Value = b.nn_conv_packed(
                op.x, w, op.bias, channels=outputs, kernel_shape=tuple(kernel), panel=panel, **attributes
            )
            return result

        return build

    def conv_panel(self, op: Any, outputs: int, reduction: int) -> int:
        """Return the panel width for so many output channels per group; panels do not straddle groups."""
        rows: Dim = product(op.y.shape[:-1])
        panel = self.ctx.target.panel_width(rows, outputs, reduction)
        if op.group == 1:
            return panel
        return max(d for d in range(1, min(panel, outputs) + 1) if outputs % d == 0)

    def matmul(self, op: Any) -> Any:
        """Return what builds the packed product, None where it stays as it is."""
        weight = constant_of(op.b)
        if weight is None or weight.array.ndim != 2 or op.transpose_a or not op.a.tensor.dtype.is_float:
            return None
        k, n = weight.array.shape[::-1] if op.transpose_b else weight.array.shape
        if not k or not n:
            return None
        panel = self.ctx.target.panel_width(product(op.a.shape[:-1]), n, k)
        packed = self.packed(weight, "matmul", panel, op.transpose_b)

        def build(b: Builder) -> Value:
            result: Value = b.linalg_matmul_packed(op.a, b.const(packed), n=n, panel=panel)
            return result

        return build
