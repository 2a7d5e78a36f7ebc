"""Tensors whose parts do not fit each other, and sparse ones."""

from __future__ import annotations

import numpy as np
from hostile_case import ACCEPTED, F32, HARMLESS, I64, With, changed, family, info, model, node
from onnx import SparseTensorProto, TensorProto, helper, numpy_helper

T = TensorProto


def adding(tensor, dtype=F32, shape=(2, 4)):
    """Return a model that reads the tensor ``w``."""
    return model([node("Add", ["x", "w"], ["y"], name="add")], [info("x", shape, dtype)], weights={"w": tensor})


def tensor(dtype=F32, dims=(2, 4), **fields):
    """Return a tensor ``w`` with these fields."""
    made = T(name="w", data_type=dtype, dims=dims)
    for name, value in fields.items():
        if isinstance(value, bytes):
            setattr(made, name, value)
        else:
            getattr(made, name).extend(value)
    return made


@family("tensors")
def misfits():
    ones = [1.0] * 8
    raw = np.ones(8, np.float32).tobytes()
    wrong = {
        "too few bytes": tensor(raw_data=raw[:-1]), "too many bytes": tensor(raw_data=raw + b"\0"),
        "no data": tensor(), "too few numbers": tensor(float_data=ones[:7]), "too many": tensor(float_data=[*ones, 1]),
        "negative dimension": tensor(dims=(-2, -4), raw_data=raw), "minus one": tensor(dims=(-1, 4), raw_data=raw),
        "dimensions overflow to 0": tensor(dims=(1 << 32, 1 << 32), raw_data=b""),
        "dimensions overflow to 8": tensor(dims=((1 << 61) + 1, 8), raw_data=raw),
        "huge": tensor(dims=(1 << 62,), raw_data=raw), "huge beside 0": tensor(dims=(0, 1 << 62, 1 << 20)),
        "rank 100": tensor(dims=(1,) * 100, raw_data=raw[:4]), "rank 10000": tensor(dims=(1,) * 10000, raw_data=raw[:4]),
        "element type 0": tensor(0, raw_data=raw), "element type 999": tensor(999, raw_data=raw),
        "element type -1": tensor(-1, raw_data=raw),
        "in the wrong field": tensor(int64_data=[1] * 8), "in two fields": tensor(raw_data=raw, float_data=ones),
        "raw strings": tensor(T.STRING, raw_data=raw), "strings": tensor(string_data=[b"x"] * 8),
    }  # fmt: skip
    cases = {name: adding(t) for name, t in wrong.items()}
    cases["segment"] = adding(changed(tensor(raw_data=raw), lambda t: setattr(t.segment, "end", 4)))
    # protobuf reads an unknown number of an enumeration as if it were not there.
    strange = T.FromString(tensor(raw_data=raw).SerializeToString() + b"\x70\x07")
    cases["location 7"] = With(adding(strange), expect=HARMLESS)
    cases["booleans of 2"] = model(
        [node("And", ["x", "w"], ["y"])], [info("x", [4], T.BOOL)],
        weights={"w": tensor(T.BOOL, (4,), raw_data=b"\0\1\2\xff")},
    )  # fmt: skip
    narrow = {
        "int8 of 300": tensor(T.INT8, int32_data=[300] * 8), "uint8 of -1000": tensor(T.UINT8, int32_data=[-1000] * 8),
        "float16 of 70000": tensor(T.FLOAT16, int32_data=[70000] * 8), "bool of 5": tensor(T.BOOL, int32_data=[5] * 8),
        "int4 of 3 bytes": tensor(T.INT4, raw_data=bytes(3)), "int4 of 5 bytes": tensor(T.INT4, raw_data=bytes(5)),
        "complex of odd count": tensor(T.COMPLEX64, float_data=[1.0] * 15),
        "uint32 of 64 bits": tensor(T.UINT32, uint64_data=[1 << 40] * 8),
    }  # fmt: skip
    cases |= {n: model([node("Cast", ["w"], ["c"], to=F32), node("Add", ["x", "c"], ["y"])], weights={"w": t})
              for n, t in narrow.items()}  # fmt: skip
    return cases


def sparse(values, indices, dims=(2, 4)):
    """Return a model that adds a sparse tensor ``w``."""
    proto = model([node("Add", ["x", "w"], ["y"], name="add")])
    made = SparseTensorProto(dims=dims)
    made.values.CopyFrom(numpy_helper.from_array(np.asarray(values), "w"))
    made.indices.CopyFrom(numpy_helper.from_array(np.asarray(indices)))
    proto.graph.sparse_initializer.append(made)
    return proto


VALUES = np.array([1.5, -2.0, 3.0], np.float32)


@family("sparse")
def bad_sparse():
    return {
        "index at the end": sparse(VALUES, np.array([0, 1, 8])),
        "negative index": sparse(VALUES, np.array([-1, 1, 2])),
        "huge index": sparse(VALUES, np.array([0, 1, (1 << 63) - 1])),
        "index twice": sparse(VALUES, np.array([1, 1, 2])),
        "coordinate twice": sparse(VALUES, np.array([[0, 1], [0, 1], [1, 1]])),
        "coordinate outside": sparse(VALUES, np.array([[0, 4], [0, 1], [1, 1]])),
        "negative coordinate": sparse(VALUES, np.array([[0, -1], [0, 1], [1, 1]])),
        "too few indices": sparse(VALUES, np.array([0, 1])),
        "three coordinates": sparse(VALUES, np.zeros((3, 3), np.int64)),
        "indices are floats": sparse(VALUES, np.array([0.0, 1.0, 2.0])),
        "indices are int32": sparse(VALUES, np.array([0, 1, 2], np.int32)),
        "values have two dimensions": sparse(VALUES.reshape(3, 1), np.array([0, 1, 2])),
        "no values": changed(sparse(VALUES, np.array([0, 1, 2])), lambda m: m.graph.sparse_initializer[0].ClearField("values")),
        "no indices": changed(sparse(VALUES, np.array([0, 1, 2])), lambda m: m.graph.sparse_initializer[0].ClearField("indices")),
        "2**40 elements": sparse(VALUES, np.array([0, 1, 2]), (1 << 20, 1 << 20)),
        "dimensions overflow": sparse(VALUES, np.array([0, 1, 2]), (1 << 32, 1 << 32)),
        "negative dimension": sparse(VALUES, np.array([0, 1, 2]), (-2, -4)),
        "many large": _many_large(),
    }  # fmt: skip


def _many_large():
    proto = model([node("Relu", ["x"], ["y"])])
    for i in range(40):
        made = sparse(VALUES, np.array([0, 1, 2]), (1 << 16, 1 << 12)).graph.sparse_initializer[0]
        made.values.name = f"w{i}"
        proto.graph.sparse_initializer.append(made)
    return proto


@family("sparse", ACCEPTED)
def good_sparse():
    attribute = helper.make_attribute("sparse_value", sparse(VALUES, np.array([0, 5, 7])).graph.sparse_initializer[0])
    constant = node("Constant", [], ["w"])
    constant.attribute.append(attribute)
    return {
        "linear": sparse(VALUES, np.array([0, 5, 7])),
        "coordinates": sparse(VALUES, np.array([[0, 1], [1, 0], [1, 3]])),
        "empty": sparse(VALUES[:0], np.zeros(0, np.int64)),
        "constant": model([constant, node("Add", ["x", "w"], ["y"])]),
    }


@family("tensors", ACCEPTED)
def strange_tensors():
    half = tensor(T.FLOAT16, int32_data=np.arange(8).astype(np.float16).view(np.uint16).astype(int).tolist())
    return {
        "half floats by their bits": model(
            [node("Cast", ["w"], ["c"], to=F32), node("Add", ["x", "c"], ["y"])], weights={"w": half}
        ),
        "int4 of odd count": model(
            [node("Cast", ["w"], ["c"], to=F32), node("Add", ["x", "c"], ["y"])], [info("x", [3])],
            weights={"w": tensor(T.INT4, (3,), raw_data=b"\x21\xf3")}, opset=21,
        ),
        "no elements": model([node("Concat", ["x", "w"], ["y"], axis=0)], weights={"w": tensor(dims=(0, 4))}),
        "scalar": adding(tensor(dims=(), raw_data=np.float32(2).tobytes())),
        "NaN and infinity": adding(tensor(raw_data=np.array([np.nan, np.inf, -np.inf, 0, 1, 2, 3, 4], np.float32).tobytes())),
        "int64 extremes": adding(
            numpy_helper.from_array(np.array([(1 << 63) - 1, -(1 << 63), 0, 1]), "w"), I64, (4,)
        ),
    }  # fmt: skip
