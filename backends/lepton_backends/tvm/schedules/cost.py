"""A rough estimate of how long a kernel's work takes, to decide whether threads are worth starting."""

from __future__ import annotations

from lepton_backends.tvm.emit.kernel import KernelView
from lepton_ir.ir import Value

NS_PER_BYTE = 0.04
NS_PER_OPERATION = 0.015
NS_PER_FUNCTION = 0.3
_FUNCTIONS = {"exp", "expm1", "log", "log1p", "tanh", "sigmoid", "erf", "gelu", "silu", "mish", "softplus", "pow",
              "elu", "selu", "celu", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "asinh", "acosh",
              "atanh", "atan2", "div", "sqrt", "rsqrt", "mod"}  # fmt: skip


def work_ns(view: KernelView) -> float:
    """Return the estimated nanoseconds that the kernel takes on one thread, memory-bound anchors included."""
    in_memory: list[Value] = [*view.block.arguments, *view.outputs]
    total = sum(view.size_guess(v) * max(1, v.tensor.dtype.bits // 8) * NS_PER_BYTE for v in in_memory)
    for op in view.block.ops:
        cost = NS_PER_FUNCTION if op.name in _FUNCTIONS else NS_PER_OPERATION
        total += sum(view.size_guess(v) * cost for v in op.results)
    return total
