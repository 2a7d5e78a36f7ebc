"""GPU schedules: every kernel ends up on threads, whatever a rule does."""

import numpy as np
import pytest
import tvm
from gpu_kernels import OPENCL, make_kernel, run_on_pocl
from lepton_backends.tvm.schedules import gpu, gpu_default
from lepton_backends.tvm.schedules.gpu_target import gpu_target, opencl_target
from lepton_backends.tvm.schedules.gpu_te.core import compute, index
from tvm import te

from lepton_ir.diagnostics import LeptonError
from lepton_ir.ir import Builder, Function, Module
from lepton_ir.ir.dim import sym
from lepton_ir.ir.opdef import REGISTRY

N = sym("N")


def doubled():
    x = te.placeholder([index(64), index(32)], "float32", name="x")
    return te.create_prim_func([x, compute([64, 32], lambda i, j: x(i, j) * 2.0, "y")])


class Declines:
    def apply(self, func, target, tunable):
        return None


class Fails:
    def apply(self, func, target, tunable):
        raise AssertionError("not for me")


class LeavesLoops:
    def apply(self, func, target, tunable):
        return tvm.s_tir.Schedule(func)


class TooManyThreads:
    def apply(self, func, target, tunable):
        schedule = tvm.s_tir.Schedule(func)
        (block,) = schedule.get_child_blocks(schedule.get_sblock("root"))
        schedule.bind(schedule.fuse(*schedule.get_loops(block)), "threadIdx.x")
        return schedule


def test_rules_that_do_not_fit_are_passed_over(monkeypatch):
    genuine = gpu_default.default_rules(doubled())
    monkeypatch.setattr(
        gpu_default, "default_rules", lambda func: [Declines(), Fails(), LeavesLoops(), TooManyThreads(), *genuine]
    )
    module = gpu_default.schedule_gpu(tvm.IRModule({"f": doubled()}), opencl_target())
    assert gpu_default.check_launchable(module["f"], opencl_target()) == ["main_kernel"]


def test_no_rule_is_left_says_why_of_each(monkeypatch):
    monkeypatch.setattr(gpu_default, "default_rules", lambda func: [Fails(), LeavesLoops(), TooManyThreads()])
    with pytest.raises(LeptonError) as caught:
        gpu_default.schedule_function(doubled().with_attr("global_symbol", "doubled"), opencl_target())
    text = str(caught.value)
    assert "doubled has no schedule for opencl" in text
    assert "Fails: not for me" in text and "LeavesLoops: " in text
    assert "TooManyThreads: a block of 2048 threads; opencl allows 256" in text


@pytest.mark.parametrize(("kind", "arch"), [("cuda", "sm_90"), ("rocm", "gfx90a"), ("rocm", "gfx1100")])
def test_blocks_fit_the_device(kind, arch):
    target = gpu_target(kind, arch)
    assert gpu_default.check_launchable(gpu_default.schedule_function(doubled(), target), target)
    assert int(target.attrs["thread_warp_size"]) == {"sm_90": 32, "gfx90a": 64, "gfx1100": 32}[arch]


def test_attention_is_three_kernels():
    kernel = make_kernel([(N, 2, 9, 16)] * 3, lambda b, q, k, v: b.nn_attention(q, k, v, scale=0.25))
    function = gpu.lower_kernel_gpu(kernel, OPENCL, "attention")
    assert len(gpu_default.check_launchable(function, opencl_target())) == 3


def test_epilogue_of_values_that_others_read_too():
    x, w = np.ones((5, 16), np.float32), np.full((16, 8), 0.5, np.float32)

    def build(b, x, w):
        y = b.linalg_matmul(x, w)
        z = b.relu(b.neg(y))
        return [y, z, b.add(y, z), b.reduce_sum(y, axes=(0,))]

    y, z, total, columns = run_on_pocl(make_kernel([(N, 16), (16, 8)], build), [x, w], {"N": 5})
    np.testing.assert_array_equal(y, x @ w)
    np.testing.assert_array_equal(z, 0 * y)
    np.testing.assert_array_equal(total, y)
    np.testing.assert_array_equal(columns, y.sum(0, keepdims=True))


def test_long_chains_are_cut_into_segments():
    x = np.linspace(-2, 2, 24, dtype=np.float32).reshape(4, 6)

    def build(b, x):
        for _ in range(10):
            x = b.leaky_relu(b.add(x, b.const(np.float32(-0.25))), alpha=0.5)
        return x

    wanted = x
    for _ in range(10):
        wanted = wanted - np.float32(0.25)
        wanted = np.where(wanted >= 0, wanted, wanted * np.float32(0.5))
    kernel = make_kernel([(N, 6)], build)
    function = gpu.lower_kernel_gpu(kernel, OPENCL, "chain")
    assert len(gpu_default.check_launchable(function, opencl_target())) == 4
    (result,) = run_on_pocl(kernel, [x], {"N": 4})
    np.testing.assert_allclose(result, wanted, rtol=1e-6)


def test_results_that_repeat():
    x = np.arange(6, dtype=np.float32)

    def build(b, x):
        y = b.neg(x)
        return [y, x, y]

    for result, wanted in zip(run_on_pocl(make_kernel([(6,)], build), [x]), [-x, x, -x], strict=True):
        np.testing.assert_array_equal(result, wanted)


def test_operators_without_a_gpu_kernel_are_listed_all_at_once():
    kernel = make_kernel([(N, 9)], lambda b, x: [b.tensor_topk(x, k=3)[0], b.tensor_cumsum(x, axis=1)])
    main = Function("main", [v.type for v in kernel.operands])
    kernel.set_operands(list(main.arguments))
    Builder(main.body).insert(kernel)
    Builder(main.body).create(REGISTRY["return"], list(kernel.results))
    found = gpu.unsupported(Module([main]))
    assert [d.message for d in found] == ["tensor.topk has no GPU kernel", "tensor.cumsum has no GPU kernel"]
