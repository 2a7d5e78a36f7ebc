"""Naming kernels, and sharing the names of equal ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lepton_ir.ir import Module, Value
from lepton_ir.ir.core import Operation
from lepton_ir.ir.dim import Dim, Expr, substitute, sym
from lepton_ir.ir.types import TensorType
from lepton_ir.ops.control import Kernel
from lepton_ir.passes import Pass, PassContext, register_pass

_MAX_WORDS = 5
_PLAIN = {"nn.conv_packed": "conv", "linalg.matmul_packed": "matmul"}
_QUIET = frozenset({"const", "tensor.reshape", "yield"})


@register_pass("outline")
@dataclass(frozen=True)
class Outline(Pass):
    """Give every kernel a readable symbol, such as ``conv_add_relu_3``, that equal kernels share."""

    requires = ("kernel-form",)

    def run(self, module: Module, ctx: PassContext) -> bool:
        symbols: dict[Any, str] = {}
        counts: dict[str, int] = {}
        changed = False
        for op in module.walk():
            if op.name != "kernel":
                continue
            key = _key(op)
            if key not in symbols:
                base = _describe(op)
                number = counts.get(base, 0)
                counts[base] = number + 1
                symbols[key] = f"{base}_{number}" if number else base
            if op.attributes["symbol"] != symbols[key]:
                op.attributes["symbol"] = symbols[key]
                changed = True
        ctx.count(self.name, "functions", len(symbols))
        return changed


def _describe(kernel: Operation) -> str:
    words: list[str] = []
    for op in kernel.regions[0].block.ops:
        if op.name in _QUIET:
            continue
        word = _PLAIN.get(op.name, op.name.rpartition(".")[2])
        if word == "conv" and op.attributes.get("panel") == 0:
            word = "depthwise"
        if not words or words[-1] != word:
            words.append(word)
    if len(words) > _MAX_WORDS:
        words = [*words[: _MAX_WORDS - 1], "etc"]
    return "_".join(words) or "copy"


def _key(kernel: Operation) -> Any:
    """Return what equal kernels share: the operations, the way they are wired, and all types.

    What their dimensions are called does not matter: names become numbers, in the order in which they appear.
    """
    assert isinstance(kernel, Kernel)
    block = kernel.body.block
    names: dict[str, Dim] = {name: sym(f"d{i}") for i, name in enumerate(kernel.symbol_names)}
    numbers: dict[Value, int] = {argument: i for i, argument in enumerate(block.arguments)}
    parts: list[Any] = [tuple(_renamed(a.type, names) for a in block.arguments)]
    for op in block.ops:
        operands = tuple(-1 if v is None else numbers[v] for v in op.operands)
        attributes = frozenset((name, type(v), _renamed(v, names)) for name, v in op.attributes.items())
        parts.append((op.name, operands, attributes, tuple(_renamed(r.type, names) for r in op.results)))
        for result in op.results:
            numbers[result] = len(numbers)
    return tuple(parts)


def _renamed(value: Any, names: Mapping[str, Dim]) -> Any:
    if isinstance(value, tuple):
        return tuple(_renamed(v, names) for v in value)
    if isinstance(value, TensorType):
        return value.substitute(names)
    return substitute(value, names) if isinstance(value, Expr) else value
