"""Values, operations, blocks: use lists, insertion, erasure, cloning."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lepton_ir.ops  # noqa: F401
from lepton_ir.ir import (
    Block,
    Builder,
    Constant,
    DType,
    Function,
    InferenceError,
    Location,
    Module,
    broadcast_shapes,
    fuse_locations,
    sym,
    tensor,
)
from lepton_ir.ir.dim import dmax
from lepton_ir.ir.opdef import REGISTRY, Operation, attribute, operand, result


def function(*types):
    f = Function("main", types, [f"x{i}" for i in range(len(types))])
    return f, Builder(f.body), f.arguments


def test_replace_all_uses_moves_every_use():
    _, b, (x, y) = function(tensor([4]), tensor([4]))
    twice = b.add(x, x)
    other = b.mul(x, y)
    assert [(op.name, i) for op, i in x.uses] == [("add", 0), ("add", 1), ("mul", 0)]
    x.replace_all_uses_with(y)
    assert not x.is_used
    assert twice.op.operands == (y, y) and other.op.operands == (y, y)
    assert set(y.users) == {twice.op, other.op} and len(y.uses) == 4


def test_erase_refuses_used_results_and_clears_uses():
    f, b, (x,) = function(tensor([4]))
    y = b.exp(x)
    z = b.neg(y)
    with pytest.raises(ValueError, match="still used"):
        y.op.erase()
    z.op.erase()
    y.op.erase()
    assert not x.is_used and len(f.body) == 0


def test_iteration_survives_erasing_and_inserting():
    f, b, (x,) = function(tensor([4]))
    for _ in range(5):
        b.exp(x)
    seen = 0
    for op in f.body.ops:
        seen += 1
        Builder.before_op(op).neg(x)
        op.erase()
    assert seen == 5 and [op.name for op in f.body.ops] == ["neg"] * 5


def test_order_in_block():
    f, b, (x,) = function(tensor([4]))
    first, second = b.exp(x).op, b.neg(x).op
    middle = Builder.before_op(second).abs(x).op
    assert [op.name for op in f.body.ops] == ["exp", "abs", "neg"]
    assert first.is_before(middle) and middle.is_before(second) and not second.is_before(first)
    middle.detach()
    f.body.insert_after(second, middle)
    assert f.body.last is middle


def test_clone_is_deep_and_shares_constants():
    f, b, (x,) = function(tensor([2]))
    w = b.const(np.ones(2, np.float32))
    y = b.add(x, w)
    b.return_([y])
    module = Module([f])
    copy = module.clone()
    ops, copies = list(module.walk()), list(copy.walk())
    assert [o.name for o in ops] == [o.name for o in copies]
    assert not set(map(id, ops)) & set(map(id, copies))
    assert copies[0].attributes["value"] is ops[0].attributes["value"]
    copies[1].set_operand(1, copies[1].operands[0])
    assert ops[1].operands == (x, w)


def test_optional_operands_are_none_and_trailing_ones_dropped():
    _, b, (x, w) = function(tensor([1, 3, 8, 8]), tensor([4, 3, 3, 3]))
    conv = b.nn_conv(x, w, strides=(1, 1), pads=(0, 0, 0, 0), dilations=(1, 1)).op
    assert conv.bias is None and len(conv.operands) == 2


def test_builder_reports_unknown_and_missing():
    _, b, (x,) = function(tensor([4]))
    with pytest.raises(InferenceError, match="no attribute slope"):
        b.leaky_relu(x, slope=1.0)
    with pytest.raises(InferenceError, match="needs its operand"):
        b.add(x)
    with pytest.raises(AttributeError, match="no operator"):
        b.frobnicate(x)
    assert not x.is_used


def test_defining_an_operator_registers_it_once():
    class Triple(Operation):
        """Three times x."""

        name = "test.triple"
        x = operand()
        factor = attribute(float, default=3.0)
        y = result()

        def infer(self):
            return self.x.type

    assert REGISTRY["test.triple"] is Triple
    _, b, (x,) = function(tensor([4]))
    assert b.test_triple(x).op.factor == 3.0 and b.test_triple(x, factor=2).op.factor == 2.0
    with pytest.raises(TypeError, match="already defined"):

        class Other(Operation):
            name = "test.triple"

    del REGISTRY["test.triple"]


def test_constants_compare_by_content_and_are_read_only():
    a = Constant(np.arange(1000, dtype=np.float32), "a")
    b = Constant(np.arange(1000, dtype=np.float32), "b")
    c = Constant(np.arange(1000, dtype=np.int32))
    assert a == b and hash(a) == hash(b) and a != c
    with pytest.raises(ValueError, match="read-only"):
        a.array[0] = 1


def test_locations_fuse_without_repeats():
    a, b = Location("m.onnx", "conv1"), Location("m.onnx", "relu1")
    fused = fuse_locations([a, fuse_locations([b, a])])
    assert fused.names() == ("conv1", "relu1")
    assert fuse_locations([a, a]) is a


def test_block_arguments_renumber():
    block = Block([tensor([1]), tensor([2]), tensor([3])])
    block.erase_argument(0)
    assert [a.index for a in block.arguments] == [0, 1]


shapes = st.lists(st.sampled_from([1, 2, 3]), max_size=4)


@given(shapes, shapes)
def test_broadcast_is_numpys(a, b):
    try:
        expected = np.broadcast_shapes(tuple(a), tuple(b))
    except ValueError:
        with pytest.raises(ValueError, match="do not broadcast"):
            broadcast_shapes(a, b)
        return
    assert broadcast_shapes(a, b) == expected


def test_broadcast_of_symbols():
    n, s = sym("N"), sym("S")
    assert broadcast_shapes([n, 1, s], [s]) == (n, 1, s)
    assert broadcast_shapes([n], [4]) == (4,)
    assert broadcast_shapes([n], [s]) == (dmax(n, s),)
    with pytest.raises(ValueError, match="do not broadcast"):
        broadcast_shapes([3], [4])


def test_types_print_as_in_the_text_form():
    n = sym("N")
    assert str(tensor([n, 3, 224, 224])) == "tensor<Nx3x224x224xf32>"
    assert str(tensor([n, sym("S") + 1, 64], DType.F16)) == "tensor<Nx(S + 1)x64xf16>"
    assert str(tensor([], DType.BOOL)) == "tensor<bool>"
    assert tensor([n, 4]).nbytes == n * 16 and tensor([3], DType.I4).nbytes == 2
