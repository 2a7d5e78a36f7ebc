"""Element types: casts between all of them, inputs and outputs, and a sample of the operators with other types."""

import numpy as np
import pytest
from conformance_cases import CRASH, PASS, WRONG, node_cases
from element_types import variant_names
from lepton_frontends.onnx.load import import_model
from lepton_frontends.onnx.tensors import DTYPES
from onnx import TensorProto, defs, helper, numpy_helper
from onnx.reference.ops.op_cast import cast_to
from run import run

import lepton_ir
from lepton_ir.ir import DType

EVERY = 60
NUMBERS = {number: dtype for number, dtype in DTYPES.items() if dtype not in (DType.STR, DType.C64, DType.C128)}
NAMES = {number: TensorProto.DataType.Name(number) for number in DTYPES}


def compiled(nodes, inputs, outputs, weights=(), opset=None):
    """Return the compiled model of some nodes."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(n, t, s) for n, t, s in inputs],
        [helper.make_empty_tensor_value_info(n) for n in outputs],
        [numpy_helper.from_array(a, n) for n, a in dict(weights).items()],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset or defs.onnx_opset_version())])
    return lepton_ir.runtime.load(lepton_ir.compile(import_model(proto), verify=False))


def every_number(dtype):
    """Return all numbers of a type of at most 8 bits, and typical and extreme ones of a longer one."""
    if dtype is DType.BOOL:
        return np.array([False, True])
    if dtype is DType.C64:
        return np.array([1 - 2j, -0.5, 3j, complex(np.inf, -0.0), -7 - 1e-9j], np.complex64)
    if dtype.bits <= 8 and dtype.is_float:
        return np.arange(1 << dtype.bits, dtype=np.uint8).view(dtype.numpy)
    if dtype.bits <= 8:
        low = -(1 << (dtype.bits - 1)) if dtype.is_signed else 0
        return np.arange(low, low + (1 << dtype.bits)).astype(dtype.numpy)
    if dtype.is_integer:
        info = np.iinfo(dtype.numpy)
        around = [1 << b for b in range(info.bits - 1)]
        wide = [info.min, info.max, 0, *around, *(a - 1 for a in around), *(-a for a in around if info.min < 0)]
        return np.array(wide, dtype.numpy)
    few = [0, -0.0, 0.3, 0.5, 0.75, 1, 1.5, 2.5, 3, 3.5, 5, 6, 7, 7.75, 26, 28, 30, 100, 240, 448, 464, 57344, 1e-7]
    return np.array([*few, *(-v for v in few[2:])], dtype.numpy)


def specials(dtype):
    """Return what lies beyond all numbers, and numbers too large for the short types."""
    with np.errstate(over="ignore"):
        return np.array([np.nan, np.inf, -np.inf, 1e9, -1e9, 65504], np.float64).astype(dtype.numpy)


def readable(x):
    """Return numbers of a short type in one that ml_dtypes casts to any other."""
    dtype = DType.of(x)
    if dtype.is_integer and dtype.bits < 8:
        return x.astype(np.int16)
    return x.astype(np.float32) if dtype.is_float and dtype.bits <= 8 else x


def fits(x, to):
    """Return where the specification says what a cast makes of the numbers."""
    wide = x.astype(np.float64)
    if to is DType.F8E8M0FNU:
        return wide >= 2.0**-127
    if not to.is_integer or DType.of(x).is_integer or x.dtype == np.bool_:
        return np.ones(x.shape, np.bool_)
    low = -(2.0 ** (to.bits - 1)) if to.is_signed else 0
    with np.errstate(all="ignore"):
        return (np.trunc(wide) >= low) & (np.trunc(wide) <= low + 2.0**to.bits - 1)


@pytest.mark.parametrize("source", NUMBERS, ids=NAMES.get)
def test_casts(source):
    dtype = NUMBERS[source]
    x = every_number(dtype)
    if dtype.is_float and dtype.bits > 8:
        x = np.concatenate([x, specials(dtype)])
    to = [n for n in NUMBERS if n != source]
    nodes = [helper.make_node("Cast", ["x"], [NAMES[n]], to=n) for n in to]
    nodes += [helper.make_node("Cast", ["x"], [f"{NAMES[n]}_exact"], to=n, saturate=0) for n in to]
    names = [o for node in nodes for o in node.output]
    got = compiled(nodes, [("x", source, x.shape)], names)(x)
    wrong = []
    for node, array in zip(nodes, got, strict=True):
        attributes = {a.name: a.i for a in node.attribute}
        number = attributes["to"]
        with np.errstate(all="ignore"):
            wanted = cast_to(readable(x), number, attributes.get("saturate", 1))
        assert array.dtype == wanted.dtype
        known = fits(x, NUMBERS[number])
        if NUMBERS[number] is DType.F8E8M0FNU:
            # The specification's table, not the reference, says what becomes of infinity.
            known &= np.isfinite(x.astype(np.float64))
        if not np.array_equal(array.astype(np.float64)[known], wanted.astype(np.float64)[known], equal_nan=True):
            wrong.append(node.output[0])
    assert not wrong


def _takes(op, number):
    """Return whether ONNX lets an operator move elements of a type."""
    moved = {"Where": 1, "Concat": 0}.get(op, 0)
    allowed = defs.get_schema(op).inputs[moved].types
    return f"tensor({NAMES[number].lower()})" in allowed


MOVED = sorted(n for n in (*NUMBERS, TensorProto.COMPLEX64) if _takes("Identity", n))


@pytest.mark.parametrize("number", MOVED, ids=NAMES.get)
def test_movement(number):
    """Inputs, constants and outputs of every type keep their bits."""
    dtype = DTYPES[number]
    x = np.ascontiguousarray(np.resize(every_number(dtype), (3, 4)))
    nodes = [
        helper.make_node("Identity", ["x"], ["same"]),
        helper.make_node("Transpose", ["x"], ["turned"]),
        helper.make_node("Reshape", ["x", "shape"], ["flat"]),
        helper.make_node("Concat", ["x", "w"], ["joined"], axis=0),
        helper.make_node("Gather", ["x", "rows"], ["taken"]),
        helper.make_node("Slice", ["x", "one", "three", "one"], ["cut"]),
        helper.make_node("Expand", ["x", "wide"], ["wider"]),
        helper.make_node("Where", ["mask", "x", "w"], ["chosen"]),
        helper.make_node("Identity", ["w"], ["constant"]),
    ]
    mask = np.array([True, False, True, True])
    weights = {
        "w": x[::-1].copy(), "shape": np.array([12]), "rows": np.array([2, 0]), "one": np.array([1]),
        "three": np.array([3]), "wide": np.array([2, 3, 4]), "mask": mask,
    }  # fmt: skip
    nodes = [n for n in nodes if _takes(n.op_type, number)]
    names = [n.output[0] for n in nodes]
    found = dict(zip(names, compiled(nodes, [("x", number, x.shape)], names, weights)(x), strict=True))
    wanted = {
        "same": x, "turned": x.T, "flat": x.reshape(12), "joined": np.concatenate([x, x[::-1]]), "taken": x[[2, 0]],
        "cut": x[:, 1:3], "wider": np.broadcast_to(x, (2, 3, 4)), "chosen": np.where(mask, x, x[::-1]),
        "constant": x[::-1],
    }  # fmt: skip
    for name, array in found.items():
        assert (array.dtype, array.shape) == (x.dtype, wanted[name].shape)
        assert array.tobytes() == np.ascontiguousarray(wanted[name]).tobytes(), name


def test_sample_of_variants():
    names = variant_names(node_cases)
    outcomes = run(names[::EVERY])
    assert [(o.name, o.status, o.reason) for o in outcomes if o.status in (WRONG, CRASH)] == []
    assert sum(o.status == PASS for o in outcomes) >= 0.7 * len(outcomes)


def test_complex_numbers_are_added_and_padded():
    node = helper.make_node("ScatterND", ["x", "i", "u"], ["y"], reduction="add")
    x, u = np.ones(4, np.complex64), np.ones(2, np.complex64)
    (added,) = compiled([node], [("x", TensorProto.COMPLEX64, [4])], ["y"], {"i": np.array([[0], [1]]), "u": u})(x)
    assert added.tolist() == [2, 2, 1, 1]
    padded = [helper.make_node("Pad", ["x", "p", "v"], ["y"]), helper.make_node("Identity", ["x"], ["z"])]
    weights = {"p": np.array([1, 2]), "v": np.array(1 - 3j, np.complex64)}
    y, z = compiled(padded, [("x", TensorProto.COMPLEX64, [4])], ["y", "z"], weights)(x)
    np.testing.assert_array_equal(y, np.pad(x, (1, 2), constant_values=1 - 3j))
    np.testing.assert_array_equal(z, x)


@pytest.mark.parametrize("kind", ["INT4", "UINT2", "BFLOAT16", "FLOAT8E8M0", "COMPLEX64"])
def test_models_of_types_that_onnxruntime_does_not_exchange_are_verified(tmp_path, kind):
    number = TensorProto.DataType.Value(kind)
    graph = helper.make_graph(
        [helper.make_node("Transpose", ["x"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", number, [2, 3])],
        [helper.make_tensor_value_info("y", number, [3, 2])],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 25)], ir_version=13)
    (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
    artifact = lepton_ir.compile(tmp_path / "m.onnx")
    assert artifact.golden.inputs["x"].dtype == DTYPES[number].numpy
    artifact.save(tmp_path / "m.lepton")
    assert lepton_ir.runtime.load(tmp_path / "m.lepton").check_golden() == 0


@pytest.mark.parametrize("dtype", [TensorProto.COMPLEX64, TensorProto.COMPLEX128])
def test_complex_numbers_are_moved_and_computed_with(dtype):
    """Kernels move complex64; the host does the rest."""
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"]),
        helper.make_node("Reshape", ["t", "shape"], ["r"]),
        helper.make_node("ScatterND", ["r", "at", "u"], ["s"], reduction="add"),
        helper.make_node("NonZero", ["s"], ["where"]),
        helper.make_node("Unique", ["s"], ["y", "", "", "count"]),
    ]
    weights = {"shape": np.array([4]), "at": np.array([[0], [2]])}
    model = compiled(nodes, [("x", dtype, ["N", 2]), ("u", dtype, [2])], ["y", "where", "count"], weights.items())
    kind = DTYPES[dtype].numpy
    x, u = np.array([[1 - 2j, 0], [3j, 1]], kind), np.array([-1 + 2j, 3j], kind)
    y, where, count = model(x, u)
    assert y.dtype == kind
    assert y.tolist() == [0, 3j, 1] and where.tolist() == [[1, 2, 3]] and count.tolist() == [1, 2, 1]
