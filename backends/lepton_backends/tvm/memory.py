"""How much memory a program takes for the results of its kernels."""

from __future__ import annotations

import re
from typing import Any

import tvm
import tvm_ffi
from tvm import relax, tirx
from tvm.ir import IRModule


def planned_bytes(module: IRModule) -> int | str:
    """Return the bytes that a call of ``main`` allocates, its outputs included, after memory planning.

    Branches count as if both ran, the bodies of loops as if they ran once.

    Args:
        module: a Relax module, as :func:`~lepton_backends.tvm.relax_program.build_relax` makes it.

    Returns:
        The number, or an expression where sizes depend on symbolic dimensions.
    """
    passes = relax.transform
    pipeline = [
        passes.RemovePurityChecking(),
        passes.CallTIRRewrite(),
        passes.StaticPlanBlockMemory(),
        passes.LowerAllocTensor(),
    ]
    planned = tvm.transform.Sequential(pipeline)(module)
    sizes: list[Any] = []

    def visit(expr: Any) -> None:
        if isinstance(expr, relax.Call) and getattr(expr.op, "name", "") == "relax.memory.alloc_storage":
            sizes.extend(expr.args[0].values)

    for function in planned.functions.values():
        if isinstance(function, relax.Function):
            relax.analysis.post_order_visit(function, visit)
    total = tvm.sym.Analyzer().simplify(_one_variable_a_name(sum(sizes, tirx.IntImm("int64", 0))))
    return int(total.value) if isinstance(total, tirx.IntImm) else re.sub(r"T\.int64\((\d+)\)", r"\1", str(total))


def _one_variable_a_name(expr: Any) -> Any:
    """Return the expression with the variables of different functions that have one name, and one value, as one."""
    known: dict[str, Any] = {}
    return tvm_ffi.structural_map(expr, (tirx.Var, lambda v: known.setdefault(str(v.name), v)))
