"""Kernels of several stages: what cannot be computed in one go lies in memory in between."""

from __future__ import annotations

import numpy as np
import pytest
from kernel_cases import case, check, make_kernel
from lepton_backends.tvm.emit.lower import lower_kernel, unsupported

from lepton_ir.diagnostics import LeptonError
from lepton_ir.ir import DType, Function, Location, Module, Operation, sym, tensor
from lepton_ir.ir.opdef import operand, result
from lepton_ir.target import host_target

N, S = sym("N"), sym("S")


def test_stages() -> None:
    def residual(b, x, y, scale):  # type: ignore[no-untyped-def]
        total = b.add(x, y)
        return total, b.nn_layer_norm(total, scale)

    def by_hand(b, x):  # type: ignore[no-untyped-def]
        e = b.exp(b.sub(x, b.reduce_max(x, axes=(1,))))
        return b.div(e, b.reduce_sum(e, axes=(1,)))

    def two_readers(b, x):  # type: ignore[no-untyped-def]
        y = b.reduce_sum(b.mul(x, x), axes=(1,), keepdims=False)
        return b.sqrt(y), b.tensor_expand(b.tensor_reshape(y, shape=(N, 1)), shape=(N, S))

    sizes = {"N": 5, "S": 33}
    check(
        [
            case("residual", [(N, 48), (N, 48), (48,)], residual, env=sizes, tolerance=1e-5),
            case("softmax by hand", [(N, S)], by_hand, env=sizes, tolerance=1e-5),
            case("two readers", [(N, S)], two_readers, env=sizes, tolerance=1e-5),
            case("batch norm", [(2, 5, 33), *[(5,)] * 3, (5,)], lambda b, *a: b.relu(b.nn_batch_norm(*a)),
                 {4: np.ones(5, np.float32)}, tolerance=1e-5),
        ]
    )  # fmt: skip


class Mystery(Operation):
    """An operator that no backend knows."""

    name = "test.mystery"
    x = operand()
    y = result()

    def infer(self) -> object:
        return self.x.type


def test_unknown_operators_are_reported_with_their_place() -> None:
    def build(b, x):  # type: ignore[no-untyped-def]
        return b.create(Mystery, x, location=Location(file="model.onnx", node="/head/Mystery")).results[0]

    kernel = make_kernel([tensor((4,))], build)
    with pytest.raises(LeptonError, match=r"(?s)model.onnx.*/head/Mystery.*no rule for test.mystery"):
        lower_kernel(kernel, host_target())
    function = Function("main", [tensor((4,))])
    kernel.set_operands(function.arguments)
    function.body.append(kernel)
    found = unsupported(Module([function]))
    assert [str(d.where) for d in found] == ["model.onnx (/head/Mystery)"]


def test_types_without_a_counterpart_are_reported() -> None:
    kernel = make_kernel([tensor((4,), DType.C64)], lambda b, x: b.add(x, x))
    function = Function("main", [tensor((4,), DType.C64)])
    kernel.set_operands(function.arguments)
    function.body.append(kernel)
    assert "c64" in str(unsupported(Module([function]))[0])
