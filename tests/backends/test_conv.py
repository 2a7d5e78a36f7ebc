"""Convolution kernels against the operators' numpy meaning and against PyTorch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from kernel_cases import Case, case, check, compile_cases, run_case

from lepton_ir.ir import DType, sym, tensor
from lepton_ir.ops.conv import pack_weight
from lepton_ir.target import parse_target

N, H, W = sym("N"), sym("H"), sym("W")
TARGETS = ["native", "x86-64-v3", "x86-64-v2"]


@dataclass(frozen=True)
class Shape:
    """A convolution; the input is [batch, *spatial, inputs]."""

    inputs: int
    outputs: int
    spatial: tuple[int, ...]
    kernel: int = 3
    stride: int = 1
    pad: int = 0
    dilation: int = 1
    group: int = 1
    batch: int = 1
    panel: int = 16

    @property
    def attributes(self) -> dict[str, Any]:
        rank = len(self.spatial)
        return {
            "strides": (self.stride,) * rank, "pads": (self.pad,) * (2 * rank), "dilations": (self.dilation,) * rank,
            "group": self.group,
        }  # fmt: skip

    def weight(self) -> np.ndarray:
        rng = np.random.default_rng(self.outputs)
        size = (self.outputs, self.inputs // self.group, *(self.kernel for _ in self.spatial))
        return rng.standard_normal(size).astype(np.float32)


PACKED = {
    "3x3": Shape(16, 40, (9, 11), pad=1, batch=2),
    "3x3 wide panel": Shape(16, 70, (14, 14), pad=1, panel=32),
    "3x3 strided": Shape(5, 7, (9, 11), stride=2, pad=1, panel=8),
    "5x5": Shape(8, 24, (10, 10), kernel=5, pad=2, panel=24),
    "dilated": Shape(8, 24, (12, 12), pad=2, dilation=2),
    "7x7 on three channels": Shape(3, 20, (30, 31), kernel=7, stride=2, pad=3),
    "patches": Shape(3, 24, (32, 32), kernel=16, stride=16),
    "1x1": Shape(20, 40, (7, 9), kernel=1, batch=2),
    "1x1 strided": Shape(20, 40, (7, 9), kernel=1, stride=2),
    "1x1 padded": Shape(8, 8, (6, 6), kernel=1, pad=1),
    "1x1 with aliasing rows": Shape(512, 96, (5, 5), kernel=1),
    "3x3 with aliasing columns": Shape(512, 16, (7, 7), pad=1),
    "all padding": Shape(8, 8, (3, 3), pad=3),
    "groups": Shape(32, 32, (9, 9), pad=1, group=4, panel=8),
    "groups inside a panel": Shape(32, 32, (9, 9), pad=1, group=8, panel=16),
    "one input per group": Shape(12, 24, (6, 6), pad=1, group=12, panel=16),
    "1-D": Shape(8, 24, (12,), pad=1),
    "3-D": Shape(4, 9, (5, 6, 7), pad=1),
    "3-D strided": Shape(6, 9, (5, 6, 7), stride=2, pad=1, batch=2),
}
DEPTHWISE = {
    "3x3": Shape(20, 20, (9, 11), pad=1, group=20, batch=2),
    "3x3 strided": Shape(7, 7, (9, 11), stride=2, pad=1, group=7),
    "3x3 on long lines": Shape(33, 33, (5, 40), pad=1, group=33),
    "5x5": Shape(40, 40, (12, 12), kernel=5, pad=2, group=40),
    "5x5 strided": Shape(24, 24, (13, 13), kernel=5, stride=2, pad=2, group=24),
    "5x5 on a small image": Shape(16, 16, (3, 3), kernel=5, pad=2, group=16),
    "dilated": Shape(8, 8, (12, 12), pad=2, dilation=2, group=8),
    "no padding": Shape(16, 16, (9, 9), kernel=2, group=16),
    "1-D": Shape(33, 33, (12,), pad=1, group=33),
    "3-D": Shape(4, 4, (5, 6, 7), pad=1, group=4),
}


def packed_case(name: str, s: Shape, symbolic: bool = False, activation: str = "relu") -> Case:
    depthwise = s.group == s.outputs == s.inputs
    raw = s.weight()
    w = np.ascontiguousarray(np.moveaxis(raw[:, 0], 0, -1)) if depthwise else pack_weight(raw, s.panel)
    rank = len(s.spatial)
    attributes = {**s.attributes, "channels": s.outputs, "panel": 0 if depthwise else s.panel}

    def build(b: Any, x: Any, w: Any, bias: Any) -> Any:
        y = b.nn_conv_packed(x, w, bias, kernel_shape=(s.kernel,) * rank, **attributes)
        return getattr(b, activation)(y)

    names = [sym("DHW"[3 - rank + i]) for i in range(rank)]
    x_shape = (N, *names, s.inputs) if symbolic else (s.batch, *s.spatial, s.inputs)
    env = dict(zip(["N", *map(str, names)], [s.batch, *s.spatial], strict=True)) if symbolic else {}
    return case(name, [x_shape, w.shape, (s.outputs,)], build, {1: w}, env)


@pytest.mark.parametrize("mcpu", TARGETS)
def test_packed(mcpu: str) -> None:
    check([packed_case(n, s) for n, s in PACKED.items()], parse_target("cpu", mcpu))


@pytest.mark.parametrize("mcpu", TARGETS)
def test_depthwise(mcpu: str) -> None:
    check([packed_case(n, s, activation="hard_swish") for n, s in DEPTHWISE.items()], parse_target("cpu", mcpu))


def test_symbolic_sizes() -> None:
    packed = ["3x3", "3x3 strided", "1x1", "1x1 strided", "7x7 on three channels", "1-D", "3-D"]
    cases = [packed_case(f"{n}, symbolic", PACKED[n], symbolic=True) for n in packed]
    cases += [packed_case(f"{n}, depthwise", DEPTHWISE[n], symbolic=True) for n in ("3x3", "5x5 strided", "1-D")]
    check(cases, parse_target("cpu", "x86-64-v3"))


def test_symbolic_batch() -> None:
    def build(b: Any, x: Any, w: Any) -> Any:
        return b.nn_conv_packed(x, w, channels=40, kernel_shape=(1, 1), panel=16, strides=(2, 2))

    w = pack_weight(np.random.default_rng(0).standard_normal((40, 20, 1, 1)).astype(np.float32), 16)
    types = [(N, 17, 19, 20), w.shape]
    check([case("batch of 3", types, build, {1: w}, {"N": 3}), case("batch of 1", types, build, {1: w}, {"N": 1})])


def test_prologue_is_applied_before_the_padding() -> None:
    s = PACKED["3x3"]
    w = pack_weight(s.weight(), s.panel)

    def build(b: Any, x: Any, w: Any) -> Any:
        return b.nn_conv_packed(b.sigmoid(x), w, channels=s.outputs, kernel_shape=(3, 3), panel=s.panel, **s.attributes)

    def from_channels_first(b: Any, x: Any, w: Any) -> Any:
        return b.nn_conv_packed(
            b.tensor_transpose(x, perm=(0, 2, 3, 1)), w, channels=s.outputs, kernel_shape=(3, 3), panel=s.panel,
            **s.attributes,
        )  # fmt: skip

    last, first = (2, *s.spatial, s.inputs), (2, s.inputs, *s.spatial)
    check(
        [
            case("sigmoid", [last, w.shape], build, {1: w}),
            case("transpose", [first, w.shape], from_channels_first, {1: w}),
        ]
    )


def test_residual_is_added_in_the_epilogue() -> None:
    s = PACKED["3x3 wide panel"]
    w = pack_weight(s.weight(), s.panel)

    def build(b: Any, x: Any, w: Any, r: Any) -> Any:
        y = b.nn_conv_packed(x, w, channels=s.outputs, kernel_shape=(3, 3), panel=s.panel, **s.attributes)
        return b.relu(b.add(y, r))

    check([case("residual", [(1, 14, 14, 16), w.shape, (1, 14, 14, s.outputs)], build, {1: w})])


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
def test_weight_known_at_run_time(layout: str) -> None:
    names = ["3x3", "3x3 strided", "dilated", "groups", "one input per group", "1-D", "3-D", "1x1 padded"]
    cases = []
    for name in names:
        s = PACKED[name]
        x = (s.batch, *s.spatial, s.inputs) if layout == "NHWC" else (s.batch, s.inputs, *s.spatial)
        build = lambda b, *v, s=s: b.relu(b.nn_conv(*v, layout=layout, **s.attributes))  # noqa: E731
        cases.append(case(f"{name} {layout}", [x, s.weight().shape, (s.outputs,)], build))
    check(cases)


def test_integers_and_short_floats() -> None:
    s = PACKED["3x3"]

    def conv(dtype: DType) -> Case:
        types = [tensor((2, 9, 11, 16), dtype), tensor(s.weight().shape, dtype)]
        build = lambda b, x, w: b.nn_conv(x, w, layout="NHWC", **s.attributes)  # noqa: E731
        return case(f"conv {dtype}", types, build, tolerance=2e-3 if dtype is DType.F16 else 2e-6)

    check([conv(d) for d in (DType.I32, DType.I64, DType.F16, DType.F64)])


TRANSPOSED = {
    "plain": (Shape(8, 12, (5, 6), pad=1), 0),
    "strided": (Shape(8, 12, (5, 6), stride=2, pad=1, batch=2), 1),
    "4x4 by 2": (Shape(20, 40, (5, 6), kernel=4, stride=2, pad=1), 0),
    "2x2 by 2": (Shape(8, 12, (5, 6), kernel=2, stride=2), 0),
    "groups": (Shape(8, 12, (5, 6), stride=2, group=2), 0),
    "dilated": (Shape(8, 12, (5, 6), stride=3, pad=1, dilation=2), 0),
    "1-D": (Shape(8, 12, (9,), kernel=5, stride=2, pad=2), 0),
    "3-D": (Shape(4, 6, (4, 5, 6), stride=2, pad=1), 0),
    "large kernel": (Shape(8, 8, (4, 4), kernel=7), 0),
}


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
def test_transposed(layout: str) -> None:
    cases = []
    for name, (s, extra) in TRANSPOSED.items():
        rank = len(s.spatial)
        x = (s.batch, *s.spatial, s.inputs) if layout == "NHWC" else (s.batch, s.inputs, *s.spatial)
        w = (s.inputs, s.outputs // s.group, *(s.kernel for _ in s.spatial))
        attributes = {**s.attributes, "output_padding": (extra,) * rank, "layout": layout}
        build = lambda b, *v, a=attributes: b.relu(b.nn_conv_transpose(*v, **a))  # noqa: E731
        cases.append(case(f"{name} {layout}", [x, w, (s.outputs,)], build))
    check(cases)


def test_transposed_with_symbolic_sizes() -> None:
    build = lambda b, x, w: b.nn_conv_transpose(x, w, strides=(2, 2), pads=(1, 1, 1, 1), layout="NHWC")  # noqa: E731
    check([case("symbolic", [(N, H, W, 8), (8, 12, 3, 3)], build, env={"N": 2, "H": 5, "W": 6})])


def test_against_onnx_runtime() -> None:
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    chosen = [PACKED["3x3"], PACKED["7x7 on three channels"], DEPTHWISE["5x5 strided"]]
    cases = [packed_case(f"{i}", s) for i, s in enumerate(chosen)]
    library = compile_cases(cases)
    for i, (s, c) in enumerate(zip(chosen, cases, strict=True)):
        x = np.moveaxis(c.inputs[0], -1, 1).copy()
        weights = [numpy_helper.from_array(s.weight(), "w"), numpy_helper.from_array(c.inputs[2], "b")]
        settings = {"strides": [s.stride] * 2, "pads": [s.pad] * 4, "dilations": [s.dilation] * 2, "group": s.group}
        nodes = [helper.make_node("Conv", ["x", "w", "b"], ["c"], **settings), helper.make_node("Relu", ["c"], ["y"])]
        ends = (helper.make_tensor_value_info(n, TensorProto.FLOAT, t) for n, t in (("x", x.shape), ("y", None)))
        graph = helper.make_graph(nodes, "g", *([end] for end in ends), weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
        (want,) = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})
        want = np.moveaxis(want, 1, -1)
        np.testing.assert_allclose(run_case(library, i, c)[0], want, atol=1e-5 * np.abs(want).max())
