"""Nodes that are not as their operators are defined: attributes, arity, element types, names."""

from __future__ import annotations

import numpy as np
from hostile_case import (
    BOOL,
    F32,
    I64,
    With,
    changed,
    family,
    info,
    ints,
    later,
    message,
    model,
    node,
    subgraph,
    varint,
)
from onnx import TensorProto, helper

KERNEL = np.ones((2, 1, 3, 3), np.float32)
IMAGE = (1, 1, 8, 8)


def one(op, *inputs, shape=(2, 4), weights=(), opset=18, outputs=("y",), dtype=F32, **attributes):
    """Return a model of one node called ``bad``, which its diagnostics must name."""
    made = node(op, list(inputs or ("x",)), list(outputs), name="bad", **attributes)
    return With(model([made], [info("x", shape, dtype)], outputs[:1], weights, opset), ("bad",))


def conv(**attributes):
    return one("Conv", "x", "w", shape=IMAGE, weights={"w": KERNEL}, **attributes)


def pool(op="MaxPool", **attributes):
    return one(op, shape=IMAGE, **({"kernel_shape": [2, 2]} | attributes))


@family("attributes")
def windows():
    return {
        "stride 0": conv(strides=[0, 1]), "stride -1": conv(strides=[-1, 1]), "three strides": conv(strides=[1, 1, 1]),
        "one stride": conv(strides=[1]), "dilation 0": conv(dilations=[0, 1]), "dilation -2": conv(dilations=[1, -2]),
        "group 0": conv(group=0), "group -1": conv(group=-1), "group 3": conv(group=3), "group 2**40": conv(group=1 << 40),
        "kernel 0": conv(kernel_shape=[0, 0]), "kernel -3": conv(kernel_shape=[-3, -3]), "kernel 5": conv(kernel_shape=[5, 5]),
        "one kernel size": conv(kernel_shape=[3]), "two pads": conv(pads=[1, 1]), "five pads": conv(pads=[1] * 5),
        "auto_pad": conv(auto_pad="SOMETIMES"), "kernel larger than the image": conv(dilations=[100, 100]),
        "SAME and stride 0": conv(auto_pad="SAME_UPPER", strides=[0, 0]),
        "pool stride 0": pool(strides=[0, 0]), "pool kernel 0": pool(kernel_shape=[0, 0]), "pool kernel -1": pool(kernel_shape=[-1, 2]),
        "pool kernel of three": pool(kernel_shape=[2, 2, 2]), "pool dilation 0": pool(dilations=[0, 0]),
        "average stride 0": pool("AveragePool", strides=[0, 0]), "pool without a kernel": one("MaxPool", shape=IMAGE),
        "pool pads -5": pool(pads=[-5, -5, -5, -5]), "pool pads of the kernel": pool(pads=[2, 2, 2, 2]),
        "LpPool p 0": pool("LpPool", p=0), "Conv of rank 2": one("Conv", "x", "w", weights={"w": KERNEL}),
        "pool of rank 1": one("MaxPool", shape=(4,), kernel_shape=[2]),
        "transposed stride 0": one("ConvTranspose", "x", "w", shape=IMAGE, weights={"w": KERNEL[:1]}, strides=[0, 0]),
        "transposed group 3": one("ConvTranspose", "x", "w", shape=IMAGE, weights={"w": KERNEL[:1]}, group=3),
    }  # fmt: skip


@family("attributes")
def axes():
    far = {op: {} for op in ("Softmax", "LogSoftmax", "Hardmax", "Flatten", "ArgMax", "ArgMin")}
    cases = {f"{op} axis {a}": one(op, axis=a, **extra) for op, extra in far.items() for a in (7, -7)}
    image = {"shape": (1, 8, 8, 8)}
    return cases | {
        "keepdims 3": one("ReduceMean", "x", "a", weights={"a": ints(1)}, keepdims=3),
        "transposes 7 times": one("Gemm", "x", "w", weights={"w": np.ones((4, 3), np.float32)}, transB=7),
        "Concat axis 5": one("Concat", "x", "x", axis=5), "Concat without an axis": one("Concat", "x", "x"),
        "Gather axis 5": one("Gather", "x", "i", weights={"i": ints(0)}, axis=5),
        "Gather beyond the end": one("Gather", "c", "i", weights={"c": np.ones(3, np.float32), "i": ints(9)}),
        "Split axis 5": one("Split", axis=5, num_outputs=1), "Split sizes": one("Split", "x", "s", weights={"s": ints(1, 9)}, outputs=("y", "z")),
        "Split negative sizes": one("Split", "x", "s", weights={"s": ints(-1, 3)}, outputs=("y", "z")),
        "Split into 0": one("Split", num_outputs=0), "perm twice": one("Transpose", perm=[0, 0]), "perm 5": one("Transpose", perm=[0, 5]),
        "perm -1": one("Transpose", perm=[0, -1]), "short perm": one("Transpose", perm=[0]), "long perm": one("Transpose", perm=[0, 1, 2]),
        "Squeeze of 4": one("Squeeze", "x", "a", weights={"a": ints(1)}), "Squeeze axis 9": one("Squeeze", "x", "a", weights={"a": ints(9)}),
        "Unsqueeze twice": one("Unsqueeze", "x", "a", weights={"a": ints(0, 0)}), "Unsqueeze 9": one("Unsqueeze", "x", "a", weights={"a": ints(9)}),
        "ReduceSum axis 9": one("ReduceSum", "x", "a", weights={"a": ints(9)}),
        "CumSum axis 9": one("CumSum", "x", "a", weights={"a": np.int64(9)}), "TopK axis 9": one("TopK", "x", "k", weights={"k": ints(1)}, axis=9),
        "TopK -1": one("TopK", "x", "k", weights={"k": ints(-1)}), "Slice step 0": one("Slice", "x", "a", "a", "a", "z", weights={"a": ints(0), "z": ints(0)}),
        "Slice axis 9": one("Slice", "x", "a", "b", "n", weights={"a": ints(0), "b": ints(1), "n": ints(9)}),
        "Slice lengths": one("Slice", "x", "a", "b", weights={"a": ints(0, 0), "b": ints(1)}),
        "Reshape two -1": one("Reshape", "x", "s", weights={"s": ints(-1, -1)}), "Reshape -2": one("Reshape", "x", "s", weights={"s": ints(-2, 4)}),
        "Reshape to 9": one("Reshape", "x", "s", weights={"s": ints(9)}), "Expand -1": one("Expand", "x", "s", weights={"s": ints(-3, 2, 4)}),
        "Tile -1": one("Tile", "x", "s", weights={"s": ints(-1, 1)}), "Tile of three": one("Tile", "x", "s", weights={"s": ints(1, 1, 1)}),
        "Pad of three": one("Pad", "x", "p", weights={"p": ints(1, 1, 1)}), "Pad mode": one("Pad", "x", "p", weights={"p": ints(1, 1, 1, 1)}, mode="mirror"),
        "Pad more than there is": one("Pad", "x", "p", weights={"p": ints(-9, 0, 0, 0)}),
        "Pad reflects more than there is": one("Pad", "x", "p", weights={"p": ints(9, 9, 9, 9)}, mode="reflect"),
        "DepthToSpace 0": one("DepthToSpace", blocksize=0, **image), "DepthToSpace 3": one("DepthToSpace", blocksize=3, **image),
        "SpaceToDepth -2": one("SpaceToDepth", blocksize=-2, **image), "SpaceToDepth 3": one("SpaceToDepth", blocksize=3, **image),
        "EyeLike of rank 3": one("EyeLike", shape=(2, 2, 2)), "OneHot depth -1": one("OneHot", "x", "d", "v", dtype=I64, shape=(4,),
            weights={"d": ints(-1), "v": np.array([0, 1], np.float32)}),
        "OneHot values of three": one("OneHot", "x", "d", "v", dtype=I64, shape=(4,), weights={"d": ints(3), "v": np.zeros(3, np.float32)}),
        "Range step 0": one("Range", "a", "b", "z", weights={"a": np.int64(0), "b": np.int64(4), "z": np.int64(0)}),
        "Einsum": one("Einsum", equation="ij->k"), "Einsum of nothing": one("Einsum", equation=""), "Einsum letters": one("Einsum", equation="i..j..->i"),
        "Dropout ratio 5": one("Dropout", "x", "r", "t", weights={"r": np.float32(5), "t": np.array(True)}),
    }  # fmt: skip


@family("values")
def values():
    norm = {n: np.ones(2, np.float32) for n in "abcd"}
    scale = {"z": np.uint8(3)}
    image = {"shape": (1, 1, 4, 4)}

    def resized(*scales, **attributes):
        return one("Resize", "x", "", "s", weights={"s": np.array(scales, np.float32)}, **image, **attributes)

    def quantized(number, op="QuantizeLinear"):
        dtype = F32 if op == "QuantizeLinear" else TensorProto.UINT8
        return one(op, "x", "s", "z", weights={"s": np.float32(number), **scale}, dtype=dtype)

    def batch_norm(epsilon):
        return one("BatchNormalization", "x", *norm, weights=norm, epsilon=epsilon, shape=(1, 2, 4))

    return {
        "epsilon NaN": batch_norm(float("nan")), "epsilon -1": batch_norm(-1.0), "epsilon infinite": batch_norm(float("inf")),
        "LayerNormalization epsilon -1": one("LayerNormalization", "x", "w", weights={"w": np.ones(4, np.float32)}, epsilon=-1.0),
        "LayerNormalization axis 9": one("LayerNormalization", "x", "w", weights={"w": np.ones(4, np.float32)}, axis=9),
        "InstanceNormalization epsilon NaN": one("InstanceNormalization", "x", "a", "b", weights={n: norm[n] for n in "ab"},
                                                 epsilon=float("nan"), shape=(1, 2, 4)),
        "statistics of another length": one("BatchNormalization", "x", *norm, weights={**norm, "d": np.ones(7, np.float32)}, shape=(1, 2, 4)),
        "scale NaN": quantized(np.nan), "scale 0": quantized(0), "scale -1": quantized(-1), "scale infinite": quantized(np.inf),
        "dequantized scale NaN": quantized(np.nan, "DequantizeLinear"),
        "resized by NaN": resized(1, 1, np.nan, 2), "resized by 0": resized(1, 1, 0, 2), "resized by -1": resized(1, 1, -1, 2),
        "resized by infinity": resized(1, 1, np.inf, 2), "resized by three": resized(1, 1, 2), "resize mode": resized(1, 1, 2, 2, mode="magic"),
        "resize coordinates": resized(1, 1, 2, 2, coordinate_transformation_mode="magic"),
        "resize sizes -1": one("Resize", "x", "", "", "s", weights={"s": ints(1, 1, -4, 4)}, **image),
        "resize both": one("Resize", "x", "", "s", "t", weights={"s": np.ones(4, np.float32), "t": ints(1, 1, 4, 4)}, **image),
        "GroupNormalization of 3": one("GroupNormalization", "x", "a", "b", weights={n: norm[n] for n in "ab"}, num_groups=3, shape=(1, 2, 4), opset=21),
        "GroupNormalization of 0": one("GroupNormalization", "x", "a", "b", weights={n: norm[n] for n in "ab"}, num_groups=0, shape=(1, 2, 4), opset=21),
        "LSTM direction": one("LSTM", "x", "w", "r", weights={"w": np.ones((1, 8, 4), np.float32), "r": np.ones((1, 8, 2), np.float32)},
                              shape=(3, 1, 4), hidden_size=2, direction="sideways"),
        "LSTM hidden size": one("LSTM", "x", "w", "r", weights={"w": np.ones((1, 8, 4), np.float32), "r": np.ones((1, 8, 2), np.float32)},
                                shape=(3, 1, 4), hidden_size=1 << 40),
        "LSTM weights": one("LSTM", "x", "w", "r", weights={"w": np.ones((1, 7, 4), np.float32), "r": np.ones((1, 8, 2), np.float32)},
                            shape=(3, 1, 4), hidden_size=2),
        "LRN size 0": one("LRN", size=0, shape=IMAGE), "LRN size -3": one("LRN", size=-3, shape=IMAGE),
        "Cast to 0": one("Cast", to=0), "Cast to 99": one("Cast", to=99), "Cast to -1": one("Cast", to=-1),
        "Constant of nothing": one("Constant", ""), "Constant of two": With(model([
            node("Constant", [], ["c"], name="bad", value_int=1, value_float=2.0), node("Relu", ["x"], ["y"])]), ("bad",)),
        "ScatterND index": one("ScatterND", "x", "i", "u", weights={"i": ints(9).reshape(1, 1), "u": np.ones((1, 4), np.float32)}),
    }  # fmt: skip


@family("kinds")
def kinds():
    attribute = helper.make_attribute

    def relu_with(*attributes):
        return With(changed(model([node("LeakyRelu", ["x"], ["y"], name="bad")]),
                            lambda m: m.graph.node[0].attribute.extend(attributes)), ("bad",))  # fmt: skip

    both = attribute("alpha", 0.5)
    both.i = 3
    empty = attribute("alpha", 0.5)
    empty.ClearField("f")
    untyped = attribute("alpha", 0.5)
    untyped.ClearField("type")
    return {
        "unknown": relu_with(attribute("speed", 3)), "integer for float": relu_with(attribute("alpha", 1)),
        "text for float": relu_with(attribute("alpha", "steep")), "list for float": relu_with(attribute("alpha", [0.5])),
        "graph for float": relu_with(attribute("alpha", subgraph([node("Relu", ["x"], ["r"])]))),
        "twice": relu_with(attribute("alpha", 0.5), attribute("alpha", 0.25)), "two values": relu_with(both),
        "no value": relu_with(empty), "no type": relu_with(untyped), "no name": relu_with(attribute("", 3)),
        "tensor for graph": one("If", "b", weights={"b": np.array(True)}, then_branch=helper.make_tensor("t", 1, [], [1.0]),
                                else_branch=subgraph([node("Relu", ["x"], ["r"])])),
        "floats for ints": one("Transpose", perm=[0.0, 1.0]), "text for ints": one("Conv", "x", "w", weights={"w": KERNEL}, shape=IMAGE, strides=["a"]),
        "type 77": With(TYPE_77, ("bad",)),
    }  # fmt: skip


TYPE_77 = b"\x08\x08" + message(8, b"\x10\x12") + message(
    7,
    message(1, message(1, b"x") + message(2, b"y") + message(3, b"bad") + message(4, b"LeakyRelu")
            + message(5, message(1, b"alpha") + varint(20 << 3) + b"\x4d"))
    + message(11, info("x", [2]).SerializeToString()) + message(12, message(1, b"y")),
)  # fmt: skip


@family("arity")
def arity():
    b = {"b": np.array(True)}
    then = {"then_branch": subgraph([node("Relu", ["x"], ["r"])]), "else_branch": subgraph([node("Neg", ["x"], ["r"])])}
    body = [node("Identity", ["c"], ["d"]), node("Relu", ["v"], ["w"])]
    full = [info("i", [], I64), info("c", [], BOOL), info("v", [2, 4])]
    loop = {"t": np.int64(3), **b}

    def looped(inputs, outputs, count=1):
        return one("Loop", "t", "b", *["x"] * count, weights=loop, body=subgraph(body, inputs, outputs))

    text = np.array(["a", "b"], object)
    return {
        "Relu of two": one("Relu", "x", "x"), "Add of one": one("Add", "x"), "Relu of none": one("Relu", ""),
        "Relu to two": one("Relu", outputs=("y", "z")), "Add of a gap": one("Add", "", "x"), "Concat of none": one("Concat", "", axis=0),
        "Conv of one": one("Conv", shape=IMAGE), "MatMul of scalars": one("MatMul", "x", "x", shape=()),
        "MatMul sizes": one("MatMul", "x", "x"), "Add shapes": one("Add", "x", "w", weights={"w": np.ones((3, 5), np.float32)}),
        "Concat shapes": one("Concat", "x", "w", axis=0, weights={"w": np.ones((3, 5), np.float32)}),
        "float and int": one("Add", "x", "w", weights={"w": ints(1)}), "Relu of bool": one("Relu", dtype=BOOL),
        "Not of float": one("Not"), "Conv of int": one("Conv", "x", "w", shape=IMAGE, dtype=I64, weights={"w": KERNEL.astype(np.int64)}),
        "Gather by floats": one("Gather", "x", "w", weights={"w": np.ones(2, np.float32)}),
        "Where on floats": one("Where", "x", "x", "x"), "Reshape by floats": one("Reshape", "x", "w", weights={"w": np.ones(2, np.float32)}),
        "Add of text": one("Add", "x", "w", dtype=TensorProto.STRING, shape=(2,), weights={"w": text}),
        "If on a float": one("If", "x", shape=(), **then), "If on two": one("If", "x", dtype=BOOL, shape=(2,), **then),
        "If of one branch": one("If", "b", weights=b, then_branch=then["then_branch"]),
        "If to two": one("If", "b", weights=b, outputs=("y", "z"), **then),
        "If with inputs": one("If", "b", weights=b, **{**then, "then_branch": subgraph([node("Relu", ["q"], ["r"])], [info("q", [2])])}),
        "Loop body takes two": looped(full[:2], ["d", "w"]), "Loop body gives one": looped(full, ["d"]),
        "Loop body gives none": looped(full, []), "Loop carries two": looped(full, ["d", "w"], 2),
        "Loop changes a shape": one("Loop", "", "b", "x", weights=b, body=subgraph(
            [node("Identity", ["c"], ["d"]), node("Concat", ["v", "v"], ["w"], axis=0)], full, ["d", "w"])),
        "Scan of three": one("Scan", num_scan_inputs=3, body=subgraph([node("Relu", ["v"], ["r"])], [info("v", [4])])),
        "Scan of -1": one("Scan", num_scan_inputs=-1, body=subgraph([node("Relu", ["v"], ["r"])], [info("v", [4])])),
        "Scan body takes two": one("Scan", num_scan_inputs=1, body=subgraph([node("Relu", ["v"], ["r"])], [info("v", [4]), info("q", [4])])),
        "sequence as a tensor": With(model([node("SequenceConstruct", ["x", "x"], ["s"]), node("Relu", ["s"], ["y"], name="bad")]), ("bad",)),
        "tensor as a sequence": one("SequenceAt", "x", "i", weights={"i": np.int64(0)}),
        "sequence beyond the end": With(model([node("SequenceConstruct", ["x"], ["s"]), node("SequenceAt", ["s", "i"], ["y"], name="bad")],
                                              weights={"i": np.int64(4)}), ("bad",)),
    }  # fmt: skip


@family("names")
def names():
    relu = model([node("Relu", ["x"], ["y"], name="relu")]).SerializeToString()
    hold = b"HOLDER01"

    def put(name, where="node"):
        holder = hold.decode()
        proto = {
            "node": lambda: model([node("Relu", ["x"], ["y"], name=holder)]),
            "value": lambda: model([node("Relu", ["x"], [holder]), node("Neg", [holder], ["y"])]),
            "input": lambda: model([node("Relu", [holder], ["y"])], [info(holder, [4])]),
            "output": lambda: model([node("Relu", ["x"], [holder])], outputs=[holder]),
            "operator": lambda: model([node(holder, ["x"], ["y"])]),
            "domain": lambda: model([node("Relu", ["x"], ["y"], domain=holder)]),
            "dimension": lambda: model([node("Relu", ["x"], ["y"])], [info("x", [holder])]),
            "attribute": lambda: model([node("Relu", ["x"], ["y"], **{holder: 1})]),
            "weight": lambda: model([node("Add", ["x", holder], ["y"])], weights={holder: np.ones(4, np.float32)}),
        }[where]()
        data = proto.SerializeToString()
        assert data.count(hold) >= 1 and len(name) == len(hold)
        return data.replace(hold, name)

    bad = {"not UTF-8": b"\xff\xfe\x80abcde", "cut UTF-8": b"abcdef\xe2\x82", "surrogate": b"\xed\xa0\x80abcde",
           "escape": b"a\x1b[31mbc", "nul": b"abc\0defg", "newline": b"abc\nerr:", "bell": b"abcdefg\x07", "C1": b"abcdef\xc2\x9b"}  # fmt: skip
    cases = {f"{what} in a {where}": put(name, where) for what, name in bad.items()
             for where in ("node", "value", "input", "output")}  # fmt: skip
    cases |= {
        f"escape in a {where}": put(bad["escape"], where)
        for where in ("operator", "domain", "dimension", "attribute", "weight")
    }
    big = "n" * 10_000_000
    return cases | {
        "10 MB node": later(lambda: model([node("Relu", ["x"], ["y"], name=big)])),
        "10 MB value": later(lambda: model([node("Relu", ["x"], [big]), node("Neg", [big], ["y"])])),
        "10 MB operator": later(lambda: model([node(big, ["x"], ["y"])])),
        "10 MB input": later(lambda: model([node("Relu", [big], ["y"])], [info(big, [4])])),
        "10 MB dimension": later(lambda: model([node("Relu", ["x"], ["y"])], [info("x", [big])])),
        "escape that is missing": model([node("Relu", ["\u202eghost"], ["y"], name="bad")]),
        "cut in a name": relu[:-3],
    }  # fmt: skip
