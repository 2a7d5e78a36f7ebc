"""Random damage to valid models: bytes that flip, fields that change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from onnx import AttributeProto, ModelProto, NodeProto, TensorProto

Rng = np.random.Generator
INTS = (0, -1, 1, 2, 3, 7, -7, 16, 255, 1 << 15, 1 << 31, -(1 << 31), 1 << 40, (1 << 63) - 1, -(1 << 63))
FLOATS = (0.0, -0.0, 1.0, -1.0, 0.5, 1e-30, 1e30, float("inf"), float("-inf"), float("nan"))
TEXTS = ("", "x", "constant", "linear", "SAME_UPPER", "bogus", "\x1b[31m", "é", "n" * 300, "../x")
OPERATORS = (
    "Relu", "Neg", "Add", "Mul", "MatMul", "Conv", "MaxPool", "Softmax", "Reshape", "Transpose", "Concat", "Gather",
    "Slice", "Squeeze", "Unsqueeze", "Flatten", "Cast", "Shape", "Expand", "Where", "ReduceSum", "Split", "Pad",
    "Resize", "Clip", "TopK", "Identity", "Constant", "Loop", "If", "Einsum", "CumSum", "OneHot", "Tile", "Bogus",
)  # fmt: skip


def pick(rng: Rng, values: Any) -> Any:
    """Return one of the values."""
    return values[int(rng.integers(len(values)))]


def damaged(model: ModelProto, rng: Rng) -> bytes:
    """Return the bytes of the model after one to three mutations, of fields or of bytes."""
    if rng.random() < 0.25:
        return _damaged_bytes(model.SerializeToString(), rng)
    copy = ModelProto()
    copy.CopyFrom(model)
    done = 0
    for _ in range(20):
        done += bool(pick(rng, MUTATIONS)(copy, rng))
        if done > rng.integers(3) or not copy.graph.node:
            break
    return copy.SerializeToString()


def _damaged_bytes(data: bytes, rng: Rng) -> bytes:
    out = bytearray(data)
    # Weights are most of a model, and all bytes of floats are alike; its ends hold the structure.
    span = len(out) if rng.random() < 0.3 else min(len(out), 3000)
    offset = 0 if rng.random() < 0.5 else len(out) - span
    for _ in range(int(rng.integers(1, 5))):
        at = offset + int(rng.integers(span))
        out[at % len(out)] ^= 1 << int(rng.integers(8))
    at, size = offset + int(rng.integers(span)), int(rng.integers(1, 9))
    if rng.random() < 0.2:
        del out[at : at + size]
    elif rng.random() < 0.2:
        out[at:at] = rng.bytes(size)
    return bytes(out)


def _nodes(model: ModelProto) -> list[NodeProto]:
    found = list(model.graph.node)
    for node in found:
        for attribute in node.attribute:
            found.extend(attribute.g.node)
    return found


def _values(model: ModelProto) -> list[str]:
    names = [i.name for i in model.graph.input] + [t.name for t in model.graph.initializer]
    return [*names, *(o for n in model.graph.node for o in n.output), ""]


def _rewire(model: ModelProto, rng: Rng) -> bool:
    node = pick(rng, _nodes(model))
    if not node.input:
        return False
    node.input[int(rng.integers(len(node.input)))] = pick(rng, _values(model))
    return True


def _rename_output(model: ModelProto, rng: Rng) -> bool:
    node = pick(rng, _nodes(model))
    if not node.output:
        return False
    node.output[int(rng.integers(len(node.output)))] = pick(rng, [*_values(model), *TEXTS])
    return True


def _delete_node(model: ModelProto, rng: Rng) -> bool:
    del model.graph.node[int(rng.integers(len(model.graph.node)))]
    return bool(model.graph.node)


def _copy_node(model: ModelProto, rng: Rng) -> bool:
    copy = model.graph.node.add()
    copy.CopyFrom(pick(rng, model.graph.node))
    if rng.random() < 0.7:
        copy.output[:] = [f"{o}_copy" for o in copy.output]
    return True


def _swap_nodes(model: ModelProto, rng: Rng) -> bool:
    nodes = list(model.graph.node)
    rng.shuffle(nodes)
    kept = [NodeProto.FromString(n.SerializeToString()) for n in nodes]
    del model.graph.node[:]
    model.graph.node.extend(kept)
    return True


def _operator(model: ModelProto, rng: Rng) -> bool:
    pick(rng, _nodes(model)).op_type = pick(rng, OPERATORS)
    return True


def _arity(model: ModelProto, rng: Rng) -> bool:
    node = pick(rng, _nodes(model))
    target = pick(rng, [node.input, node.output])
    if target and rng.random() < 0.5:
        target.pop()
    else:
        target.append(pick(rng, _values(model)))
    return True


def _attribute(model: ModelProto, rng: Rng) -> bool:
    attributes = [a for n in _nodes(model) for a in n.attribute]
    if not attributes:
        return False
    _change(pick(rng, attributes), rng)
    return True


def _change(attribute: AttributeProto, rng: Rng) -> None:
    kind = attribute.type if rng.random() < 0.9 else int(rng.integers(0, 15))
    attribute.type = kind
    if kind == AttributeProto.INT:
        attribute.i = pick(rng, INTS)
    elif kind == AttributeProto.FLOAT:
        attribute.f = pick(rng, FLOATS)
    elif kind == AttributeProto.STRING:
        attribute.s = pick(rng, TEXTS).encode()
    elif kind == AttributeProto.INTS and attribute.ints and rng.random() < 0.7:
        attribute.ints[int(rng.integers(len(attribute.ints)))] = pick(rng, INTS)
    elif kind == AttributeProto.INTS:
        attribute.ints.append(pick(rng, INTS))
    elif kind == AttributeProto.TENSOR:
        _change_tensor(attribute.t, rng)
    else:
        attribute.name = pick(rng, TEXTS)


def _drop_attribute(model: ModelProto, rng: Rng) -> bool:
    holders = [n for n in _nodes(model) if n.attribute]
    if not holders:
        return False
    node = pick(rng, holders)
    del node.attribute[int(rng.integers(len(node.attribute)))]
    return True


def _tensor(model: ModelProto, rng: Rng) -> bool:
    if not model.graph.initializer:
        return False
    _change_tensor(pick(rng, model.graph.initializer), rng)
    return True


def _change_tensor(tensor: TensorProto, rng: Rng) -> None:
    choice = rng.integers(5)
    if choice == 0 and tensor.dims:
        tensor.dims[int(rng.integers(len(tensor.dims)))] = pick(rng, INTS)
    elif choice == 1:
        tensor.data_type = int(rng.integers(0, 27))
    elif choice == 2 and tensor.raw_data:
        tensor.raw_data = tensor.raw_data[: int(rng.integers(len(tensor.raw_data)))]
    elif choice == 3 and tensor.raw_data:
        data = bytearray(tensor.raw_data)
        data[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))
        tensor.raw_data = bytes(data)
    else:
        size = [int(d) for d in tensor.dims]
        rng.shuffle(size)
        tensor.dims[:] = size


def _input(model: ModelProto, rng: Rng) -> bool:
    if not model.graph.input:
        return False
    kind = pick(rng, model.graph.input).type.tensor_type
    choice = rng.integers(4)
    if choice == 0:
        kind.elem_type = int(rng.integers(0, 27))
    elif choice == 1 and kind.shape.dim:
        del kind.shape.dim[int(rng.integers(len(kind.shape.dim)))]
    elif choice == 2 and kind.shape.dim:
        pick(rng, kind.shape.dim).dim_param = pick(rng, ("N", "M", "N+1", "", "min"))
    elif kind.shape.dim:
        pick(rng, kind.shape.dim).dim_value = pick(rng, (*INTS[:10], 4, 8, 9))
    return True


def _output(model: ModelProto, rng: Rng) -> bool:
    if not model.graph.output:
        return False
    pick(rng, model.graph.output).name = pick(rng, _values(model))
    return True


def _opset(model: ModelProto, rng: Rng) -> bool:
    pick(rng, model.opset_import).version = int(pick(rng, (*INTS, 7, 9, 11, 13, 18, 21, 22)))
    return True


def _drop_weight(model: ModelProto, rng: Rng) -> bool:
    if not model.graph.initializer:
        return False
    del model.graph.initializer[int(rng.integers(len(model.graph.initializer)))]
    return True


MUTATIONS: tuple[Callable[[ModelProto, Rng], bool], ...] = (
    _rewire, _rewire, _rename_output, _delete_node, _copy_node, _swap_nodes, _operator, _arity, _attribute, _attribute,
    _attribute, _drop_attribute, _tensor, _tensor, _input, _input, _output, _opset, _drop_weight,
)  # fmt: skip
