"""Values of attributes and of constant inputs that mean nothing, whatever the shapes are.

Attributes are known by their names, which mean the same in all operators of ONNX.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from onnx import AttributeProto, NodeProto

from lepton_ir.ir.core import Value

Check = Callable[[Any], bool]
AUTO_PADS = ("NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID")


def _positive(value: Any) -> bool:
    return all(v >= 1 for v in (value if isinstance(value, tuple) else (value,)))


def _is_order(value: Any) -> bool:
    return sorted(value) == list(range(len(value)))


_ATTRIBUTES: dict[str, tuple[Check, str]] = {
    **dict.fromkeys(
        ("kernel_shape", "strides", "dilations", "group", "num_groups", "num_outputs", "blocksize", "hidden_size", "p",
         "kv_num_heads", "q_num_heads"),
        (_positive, "at least 1"),
    ),
    # Of com.microsoft's RotaryEmbedding, 0 heads are as many as fit.
    "num_heads": (lambda v: v >= 0, "at least 0"),
    **dict.fromkeys(
        ("keepdims", "exclusive", "reverse", "ceil_mode", "count_include_pad", "transA", "transB", "largest", "sorted",
         "select_last_index", "noop_with_empty_axes", "allowzero", "upper", "exclude_outside", "antialias", "layout",
         "storage_order", "fmod", "is_causal", "training_mode", "linear_before_reset", "input_forget", "saturate",
         "new_axis"),
        (lambda v: v in (0, 1), "0 or 1"),
    ),
    "epsilon": (lambda v: math.isfinite(v) and v >= 0, "a number of at least 0"),
    "auto_pad": (lambda v: v in AUTO_PADS, f"one of {', '.join(AUTO_PADS)}"),
    "perm": (_is_order, "an order of the axes"),
}  # fmt: skip


def _all_finite(array: np.ndarray) -> bool:
    return bool(np.isfinite(array.astype(np.float64)).all())


def _all_positive(array: np.ndarray) -> bool:
    return _all_finite(array) and bool((array.astype(np.float64) > 0).all())


_INPUTS: dict[tuple[str, str], tuple[Callable[[np.ndarray], bool], str]] = {
    ("QuantizeLinear", "y_scale"): (_all_positive, "positive numbers"),
    ("DequantizeLinear", "x_scale"): (_all_finite, "finite numbers"),
    ("Resize", "scales"): (_all_positive, "positive numbers"),
    ("Upsample", "scales"): (_all_positive, "positive numbers"),
}


def attribute_problem(attribute: AttributeProto, value: Any) -> str:
    """Return why an attribute's value means nothing, "" where it does not."""
    allowed, words = _ATTRIBUTES.get(str(attribute.name), (None, ""))
    if allowed is None:
        return ""
    try:
        fits = allowed(value)
    except TypeError:  # Of another kind than it should be, which is reported as such.
        return ""
    return "" if fits else f"its attribute {attribute.name} is {value!s:.100}, and must be {words}"


def input_problems(node: NodeProto, names: Sequence[str], inputs: Sequence[Any]) -> Iterator[str]:
    """Yield why constant inputs mean nothing.

    Args:
        node: the node.
        names: what its schema calls the inputs.
        inputs: what they stand for.
    """
    for name, value in zip(names, inputs, strict=False):
        allowed, words = _INPUTS.get((str(node.op_type), name), (None, ""))
        if allowed is None or not isinstance(value, Value) or value.op is None or value.op.name != "const":
            continue
        if not allowed(value.op.attributes["value"].array):
            yield f"its input {name} must be {words}"
