"""The same kernels for other instruction sets, and for tensors of more than 2**31 elements."""

from __future__ import annotations

import pytest
import tvm
from kernel_cases import case, check, make_kernel
from lepton_backends.tvm.build import tvm_target
from lepton_backends.tvm.emit.lower import lower_kernel
from tvm import tirx

from lepton_ir.ir import DType, tensor
from lepton_ir.target import host_target, parse_target


@pytest.mark.parametrize("mcpu", ["x86-64", "x86-64-v3"])
def test_other_instruction_sets(mcpu: str) -> None:
    target = parse_target("cpu", mcpu=mcpu).with_threads(1)
    shape = (5, 37)
    attend = [(2, 29, 16), (2, 50, 16), (2, 50, 24)]
    half = tensor(shape, DType.F16)
    check(
        [
            *(case(n, [shape], lambda b, x, n=n: getattr(b, n)(x), tolerance=4e-6)  # type: ignore[misc]
              for n in ("exp", "gelu", "tanh", "sigmoid", "round")),
            case("softmax", [shape], lambda b, x: b.nn_softmax(x, axis=1), tolerance=1e-6),
            case("norm", [shape], lambda b, x: b.nn_layer_norm(x, axis=1), tolerance=1e-5),
            case("transpose", [(3, 33, 20)], lambda b, x: b.tensor_transpose(x, perm=(0, 2, 1)), tolerance=0),
            case("attention", attend, lambda b, q, k, v: b.nn_attention(q, k, v, scale=0.25), tolerance=1e-5),
            case("f16", [half, half], lambda b, x, y: b.exp(b.add(x, y)), tolerance=1e-3),
        ],
        target,
    )  # fmt: skip


def test_indices_beyond_31_bits_stay_wide() -> None:
    kernel = make_kernel([tensor((3, 1 << 30))], lambda b, x: b.relu(x))
    module = tvm.IRModule({"main": lower_kernel(kernel, host_target(), "main")})
    passes = tirx.transform
    lowered = tvm.transform.Sequential(
        [passes.BindTarget(tvm_target(host_target())), passes.FlattenBuffer(), passes.NarrowDataType(32)]
    )(module)
    assert "int32" not in str(lowered["main"].body)


def test_code_uses_only_the_instruction_sets_that_are_checked_for() -> None:
    # LLVM's sapphirerapids has float16 arithmetic, which no feature of the manifest asks for.
    target = tvm_target(parse_target("cpu", mcpu="sapphirerapids"))
    assert str(target.attrs["mcpu"]) == "x86-64-v4"
    assert list(target.attrs["mattr"]) == ["+avx512vnni"]
