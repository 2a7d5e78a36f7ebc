"""Lowering of what PyTorch traced, node by node, through the table of aten operators."""

from __future__ import annotations

import numpy as np
import torch
from lepton_frontends.aten.builder import AtenBuilder
from lepton_frontends.aten.call import Tensor, call
from lepton_frontends.common.errors import UnsupportedError
from lepton_frontends.common.state import ImportState
from torch.fx.experimental.proxy_tensor import make_fx

from lepton_ir.interp import run
from lepton_ir.ir.constant import Constant
from lepton_ir.ir.module import Function, Module
from lepton_ir.ir.types import DType, TensorType

DTYPES = {
    torch.bool: DType.BOOL, torch.uint8: DType.U8, torch.int8: DType.I8, torch.int16: DType.I16,
    torch.int32: DType.I32, torch.int64: DType.I64, torch.float16: DType.F16, torch.bfloat16: DType.BF16,
    torch.float32: DType.F32, torch.float64: DType.F64, torch.complex64: DType.C64, torch.complex128: DType.C128,
}  # fmt: skip


def array_of(tensor):
    """Return a tensor as an array of Lepton's kind."""
    tensor = tensor.detach().resolve_conj().resolve_neg().contiguous()
    if tensor.dtype is torch.bfloat16:
        return tensor.view(torch.int16).numpy().view(DType.BF16.numpy)
    return tensor.numpy()


def traced(function, tensors, pre_dispatch):
    """Return the graph of a function of tensors, None where PyTorch cannot trace it."""
    try:
        return make_fx(function, pre_dispatch=pre_dispatch)(*tensors)
    except Exception:  # what a function does with tensors that have no data raises anything
        return None


def is_random(graph):
    """Return whether the numbers of a graph's results are nobody's promise: drawn, or what memory happened to hold."""
    targets = [n.target for n in graph.graph.nodes if n.op == "call_function"]
    tags = [getattr(t, "tags", ()) for t in targets]
    names = [getattr(getattr(t, "_schema", None), "name", "") for t in targets]
    return any(torch.Tag.nondeterministic_seeded in t for t in tags) or any(
        "::empty" in n or "new_empty" in n for n in names
    )


def open_index(graph):
    """Return which result is an index that PyTorch leaves open where elements are equal, None where there is none."""
    names = {getattr(getattr(n.target, "_schema", None), "name", "") for n in graph.graph.nodes}
    after_values = ("kthvalue", "topk", "median", "nanmedian", "mode", "msort", "sort")
    return 1 if names & {f"aten::{n}" for n in after_values} else None


def lowered(graph, tensors):
    """Lower a graph; the results are tensors, in order."""
    main = Function("main")
    b = AtenBuilder(main.body, ImportState("trace", memory=1 << 34))
    values = {}
    results = []
    for node in graph.graph.nodes:
        if node.op == "placeholder":
            tensor = tensors[len(main.arguments)]
            kind = TensorType(tuple(tensor.shape), DTYPES[tensor.dtype])
            values[node] = Tensor(main.body.add_argument(kind, f"x{len(main.arguments)}"))
        elif node.op == "get_attr":
            values[node] = Tensor(b.const(Constant(array_of(getattr(graph, node.target)), node.target)))
        elif node.op == "call_function":
            values[node] = _called(b, node, values)
        elif node.op == "output":
            found = torch.utils._pytree.tree_leaves(torch.fx.map_arg(node.args[0], values.__getitem__))
            results = [r for r in found if isinstance(r, Tensor)]
    b.return_([r.read(b) for r in results])
    main.result_names = [f"y{i}" for i in range(len(results))]
    return Module([main])


def _called(b, node, values):
    target = node.target
    if getattr(target, "__name__", "") == "getitem":
        return values[node.args[0]][node.args[1]]
    args = [_argument(a, values) for a in node.args]
    kwargs = {k: _argument(v, values) for k, v in node.kwargs.items()}
    namespace, name = target._schema.name.split("::")
    return call(b, name if namespace == "aten" else f"{namespace}::{name}", args, kwargs)


def _argument(given, values):
    if isinstance(given, torch.fx.Node):
        return values[given]
    if isinstance(given, (list, tuple)):
        return [_argument(g, values) for g in given]
    if isinstance(given, torch.dtype):
        if given not in DTYPES:
            raise UnsupportedError(f"Lepton has no element type for {given}")
        return DTYPES[given]
    if isinstance(given, (torch.device, torch.layout, torch.memory_format)):
        return None
    return given


def evaluated(module, tensors):
    """Return the results that the interpreter gives."""
    return run(module, {f"x{i}": array_of(t) for i, t in enumerate(tensors)})


TOLERANCES = {"f16": 2e-3, "bf16": 2e-2, "f32": 2e-5, "f64": 1e-9, "c64": 2e-5, "c128": 1e-9}


def difference(found, wanted, types_only=False):
    """Return what differs between an array and PyTorch's tensor, "" where they agree."""
    wanted = array_of(wanted)
    if found.shape != wanted.shape or found.dtype != wanted.dtype:
        return f"{found.dtype}{list(found.shape)} where PyTorch has {wanted.dtype}{list(wanted.shape)}"
    if types_only:
        return ""
    kind = str(DType.of(wanted))
    if kind not in TOLERANCES:
        return "" if np.array_equal(found, wanted) else f"{np.sum(found != wanted)} of {wanted.size} elements differ"
    wide = np.complex128 if kind[0] == "c" else np.float64
    a, c = found.astype(wide), wanted.astype(wide)
    finite = np.abs(c[np.isfinite(c)])
    largest = max(1e-3, finite.max(initial=0))
    if np.allclose(a, c, rtol=TOLERANCES[kind], atol=TOLERANCES[kind] * largest, equal_nan=True):
        return ""
    with np.errstate(all="ignore"):
        return f"largest difference {np.nanmax(np.abs(a - c)):.3g} where the largest number is {largest:.3g}"
