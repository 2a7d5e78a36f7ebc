"""A few bytes that ask for terabytes, or for hours."""

from __future__ import annotations

import numpy as np
from hostile_case import ACCEPTED, BOOL, EITHER, I64, With, family, info, ints, later, model, node, subgraph
from onnx import helper

HUGE = 1 << 40
TRAINING = "ai.onnx.preview.training"


def shaped(op, *sizes, **attributes):
    """Return a model of one operator that takes a shape from the weight ``s``."""
    return model([node(op, ["x", "s"], ["y"], name="big", **attributes)], weights={"s": ints(*sizes)})


def chain(op, count, **attributes):
    """Return a model in which every node reads the one before it twice."""
    nodes = [node(op, [f"v{i}", f"v{i}"], [f"v{i + 1}"], name=f"n{i}", **attributes) for i in range(count)]
    return model(nodes, [info("v0", [2, 4])], [f"v{count}"])


def symbolic(nodes, shape, outputs=("y",), **weights):
    return model(nodes, [info("x", shape)], outputs, weights)


@family("sizes")
def results():
    outer = [node("MatMul", ["a", "b"], ["y"], name="big")]
    return {
        "ConstantOfShape": model([node("ConstantOfShape", ["s"], ["y"], name="big")], weights={"s": ints(HUGE)}),
        "ConstantOfShape times x": model(
            [node("ConstantOfShape", ["s"], ["c"], name="big"), node("MatMul", ["x", "c"], ["y"])],
            weights={"s": ints(4, HUGE)},
        ),
        "Expand": shaped("Expand", HUGE, 2, 4), "Expand overflows": shaped("Expand", 1 << 62, 1 << 62, 2, 4),
        "Tile": shaped("Tile", 1 << 20, 1 << 20), "Tile overflows": shaped("Tile", 1 << 62, 1 << 62),
        "Pad": shaped("Pad", HUGE, 0, 0, 0), "Pad negative": shaped("Pad", -HUGE, 0, HUGE, 0),
        "Range": model(
            [node("Range", ["a", "b", "c"], ["y"], name="big")], weights={"a": np.int64(0), "b": np.int64(HUGE), "c": np.int64(1)}
        ),
        "Range of floats": model(
            [node("Range", ["a", "b", "c"], ["y"], name="big")],
            weights={"a": np.float32(0), "b": np.float32(1e30), "c": np.float32(1e-30)},
        ),
        "Range of nothing": model(
            [node("Range", ["a", "b", "c"], ["y"], name="big")],
            weights={"a": np.float32(0), "b": np.float32(np.nan), "c": np.float32(0)},
        ),
        "OneHot": model(
            [node("OneHot", ["x", "d", "v"], ["y"], name="big")], [info("x", [4], I64)],
            weights={"d": ints(HUGE), "v": np.array([0, 1], np.float32)},
        ),
        "EyeLike": model(
            [node("ConstantOfShape", ["s"], ["c"], name="big"), node("EyeLike", ["c"], ["y"])], weights={"s": ints(1 << 20, 1 << 20)}
        ),
        "Resize": model(
            [node("Resize", ["x", "", "s"], ["y"], name="big")], [info("x", [1, 1, 4, 4])],
            weights={"s": np.array([1, 1, 1e6, 1e6], np.float32)},
        ),
        "Resize sizes": model(
            [node("Resize", ["x", "", "", "s"], ["y"], name="big")], [info("x", [1, 1, 4, 4])],
            weights={"s": ints(1, 1, 1 << 30, 1 << 30)},
        ),
        "Reshape of more": shaped("Reshape", HUGE), "Reshape to nothing": shaped("Reshape", 0, HUGE),
        "outer product": model(outer, [info("a", [1 << 22, 1]), info("b", [1, 1 << 22])]),
        "broadcast": model([node("Add", ["a", "b"], ["y"], name="big")], [info("a", [1 << 20, 1]), info("b", [1 << 20])]),
        "GatherND": model(
            [node("Gather", ["x", "i"], ["y"], name="big")], [info("x", [2, 1 << 24]), info("i", [1 << 20], I64)]
        ),
        "input": model([node("Relu", ["x"], ["y"])], [info("x", [HUGE])]),
        "input overflows": model([node("Relu", ["x"], ["y"])], [info("x", [1 << 32, 1 << 32])]),
        "input of rank 40": model([node("Relu", ["x"], ["y"])], [info("x", [1] * 40)]),
        "input of rank 5000": model([node("Relu", ["x"], ["y"])], [info("x", [1] * 5000)]),
        "Unsqueeze to rank 200": model([node("Unsqueeze", ["x", "a"], ["y"], name="big")], weights={"a": ints(*range(200))}),
        "ConvTranspose": model(
            [node("ConvTranspose", ["x", "w"], ["y"], name="big", strides=[1 << 20, 1 << 20])], [info("x", [1, 1, 9, 9])],
            weights={"w": np.ones((1, 1, 2, 2), np.float32)},
        ),
        "ConvTranspose output padding": model(
            [node("ConvTranspose", ["x", "w"], ["y"], name="big", output_padding=[1 << 30, 1 << 30])], [info("x", [1, 1, 9, 9])],
            weights={"w": np.ones((1, 1, 2, 2), np.float32)},
        ),
        "Conv pads": model(
            [node("Conv", ["x", "w"], ["y"], name="big", pads=[1 << 20] * 4, strides=[1 << 20] * 2)], [info("x", [1, 1, 9, 9])],
            weights={"w": np.ones((1, 1, 2, 2), np.float32)},
        ),
        "Conv pads of a constant": model(
            [node("Conv", ["c", "w"], ["z"], name="big", pads=[1 << 20] * 4, strides=[1 << 20] * 2), node("Add", ["x", "z"], ["y"])],
            [info("x", [1])], weights={"w": np.ones((1, 1, 2, 2), np.float32), "c": np.ones((1, 1, 9, 9), np.float32)},
        ),
        "MaxPool pads": model(
            [node("MaxPool", ["x"], ["y"], name="big", kernel_shape=[1 << 30] * 2, pads=[(1 << 30) - 1] * 4)], [info("x", [1, 1, 9, 9])]
        ),
        "Split": model([node("Split", ["x"], ["y"], name="big", num_outputs=1 << 40)]),
        "TopK": model([node("TopK", ["x", "k"], ["y", "i"], name="big")], weights={"k": ints(HUGE)}),
        "CumSum of a full": model(
            [node("ConstantOfShape", ["s"], ["c"], name="big"), node("CumSum", ["c", "a"], ["y"])],
            weights={"s": ints(1 << 36), "a": np.int64(0)},
        ),
        "SequenceInsert": model(
            [node("SplitToSequence", ["c"], ["q"], name="big", keepdims=0), node("ConcatFromSequence", ["q"], ["y"], axis=0)],
            [info("c", [1 << 30])],
        ),
    }  # fmt: skip


@family("sizes")
def doubling():
    shape = [node("Shape", ["x"], ["s0"])]
    square = [node("Mul", [f"s{i}", f"s{i}"], [f"s{i + 1}"], name=f"m{i}") for i in range(60)]
    nested = []
    for i in range(60):
        nested += [node("Mul", [f"s{i}", f"s{i}"], [f"a{i}"]), node("Add", [f"a{i}", "k"], [f"b{i}"]),
                   node("Div", [f"b{i}", "k"], [f"s{i + 1}"])]  # fmt: skip
    binomials, last = [], "x"
    for axis in range(24):
        binomials.append(node("Concat", [last, f"z{axis}"], [f"c{axis}"], axis=axis))
        last = f"c{axis}"
    parts = [info("x", [f"A{i}" for i in range(24)])]
    for axis in range(24):
        before = [f"A{i}+B{i}" for i in range(axis)]
        parts.append(info(f"z{axis}", [*before, f"B{axis}", *[f"A{i}" for i in range(axis + 1, 24)]]))
    reshape = node("Reshape", ["x", "s60"], ["y"], name="shape")
    return {
        "Concat": chain("Concat", 60, axis=0),
        "Concat of both axes": model(
            [node("Concat", [f"v{i}"] * 2, [f"v{i + 1}"], name=f"n{i}", axis=i % 2) for i in range(70)],
            [info("v0", [2, 4])], ["v70"],
        ),
        "Concat 8 at a time": model(
            [node("Concat", [f"v{i}"] * 8, [f"v{i + 1}"], name=f"n{i}", axis=0) for i in range(30)],
            [info("v0", [2, 4])], ["v30"],
        ),
        "squares of a dimension": With(symbolic([*shape, *square, reshape], ["N", "M"]), expect=EITHER),
        "divisions of squares": symbolic([*shape, *nested, reshape], ["N", "M"], k=ints(3, 5)),
        "sums in all dimensions": model(
            [*binomials, node("Flatten", [last], ["y"], axis=24, name="flat")], parts
        ),
        "MatMul of a full": model(
            [node("ConstantOfShape", ["s"], ["c"], name="big"), node("MatMul", ["x", "c"], ["z"]), node("ReduceSum", ["z"], ["y"])],
            weights={"s": ints(4, 1 << 31)},
        ),
        "many live at once": model(
            [*(node("Expand", ["x", "s"], [f"e{i}"], name=f"big{i}") for i in range(64)),
             node("Sum", [f"e{i}" for i in range(64)], ["y"])],
            weights={"s": ints(1 << 25, 2, 4)},
        ),
        "symbolic input of rank 8": With(
            symbolic([node("Relu", ["x"], ["y"], name="big")], list("ABCDEFGH")), expect=ACCEPTED
        ),
        "symbolic Expand": symbolic(
            [node("Shape", ["x"], ["s"]), node("Mul", ["s", "k"], ["t"]), node("Expand", ["c", "t"], ["y"], name="big")],
            ["N", "M"], k=ints(1 << 20, 1 << 20), c=np.ones((1, 1), np.float32),
        ),
    }  # fmt: skip


def loop(trips, condition, body, carried=("x",), outputs=("y",)):
    nodes = [node("Loop", ["trips" if trips is not None else "", "go" if condition else "", *carried], list(outputs),
                  name="loop", body=body)]  # fmt: skip
    weights = {"go": np.array(True)} | ({"trips": np.int64(trips)} if trips is not None else {})
    return model(nodes, weights=weights)


def trip(nodes, outputs, extra=()):
    inputs = [info("i", [], I64), info("c", [], BOOL), *extra]
    return subgraph(nodes, inputs, outputs)


@family("loops")
def endless():
    carried = [info("v", [2, 4])]
    step = [node("Identity", ["c"], ["d"]), node("Add", ["v", "v"], ["w"])]
    grow = [node("Identity", ["c"], ["d"]), node("Concat", ["v", "v"], ["w"], axis=0)]
    inner = trip([node("Identity", ["c"], ["d"]), node("Add", ["v", "v"], ["w"])], ["d", "w"], carried)
    for level in range(5):
        body = [node("Identity", ["c"], ["d"]), node("Constant", [], ["t"], value_int=256),
                node("Loop", ["t", "c", "v"], ["w"], name=f"level{level}", body=inner)]  # fmt: skip
        inner = trip(body, ["d", "w"], carried)
    bare = trip([], ["c"])
    for _ in range(5):
        bare = trip([node("Constant", [], ["t"], value_int=256), node("Loop", ["t", "c"], [], body=bare)], ["c"])
    return {
        "for ever": loop(None, True, trip(step, ["d", "w"], carried)),
        "for ever without a condition": loop(None, False, trip(step, ["d", "w"], carried)),
        "2**60 trips": loop(1 << 60, True, trip(step, ["d", "w"], carried)),
        "2**60 empty trips": loop(1 << 60, True, trip([], ["c", "v"], carried)),
        "negative trips growing": loop(200, True, trip(grow, ["d", "w"], carried)),
        "grows for ever": loop(None, True, trip(grow, ["d", "w"], carried)),
        "256**6 trips": loop(256, True, inner),
        "256**6 empty trips": loop(256, True, bare, (), ()),
        "collects for ever": loop(1 << 40, True, trip(step, ["d", "w", "w"], carried), outputs=("y", "z")),
        "Scan of much": model(
            [node("Scan", ["x"], ["y"], name="scan", num_scan_inputs=1,
                  body=subgraph([node("Relu", ["v"], ["r"])], [info("v", [4])]))], [info("x", [1 << 20, 4])]
        ),
        "branches that fork": _forks(70),
        "gradients of gradients": _derivatives(40),
    }  # fmt: skip


def _forks(count):
    """Return a model of branches whose results differ in rank, so that what follows is imported twice each time."""
    nodes, last = [], "x"
    for i in range(count):
        then = subgraph([node("Relu", [last], [f"t{i}"])], outputs=[f"t{i}"])
        other = subgraph([node("Unsqueeze", [last, "axis"], [f"e{i}"])], outputs=[f"e{i}"])
        nodes.append(node("If", ["b"], [f"v{i}"], name=f"if{i}", then_branch=then, else_branch=other))
        last = f"v{i}"
    return model(nodes, [info("x", [2, 4]), info("b", [], BOOL)], [last], {"axis": ints(0)})


def _derivatives(order):
    """Return a model that differentiates what it got by differentiating, so that each order doubles the work."""
    nodes = [node("Mul", ["x", "x"], ["v0"])]
    for i in range(order):
        nodes.append(node("Gradient", ["x"], [f"d{i}"], name=f"grad{i}", domain=TRAINING, xs=["x"], y=f"v{i}"))
        nodes.append(node("Mul", [f"d{i}", "x"], [f"v{i + 1}"]))
    return model(nodes, [info("x", [2, 4])], [f"v{order}"], domains=[TRAINING])


@family("counts")
def counts():
    def relus():
        return model([node("Relu", [f"v{i}"], [f"v{i + 1}"]) for i in range(250_000)], [info("v0", [4])], ["v250000"])

    def attributes():
        relu = node("Relu", ["x"], ["y"], name="relu")
        relu.attribute.extend(helper.make_attribute(f"a{i}", i) for i in range(50_000))
        return model([relu])

    def wide():
        return model(
            [node("Concat", ["s", *["x"] * 300_000], ["y"], name="wide", axis=0)], weights={"s": np.float32(1)}
        )

    def split():
        return model([node("Split", ["x"], [f"y{i}" for i in range(100_000)], name="split", axis=0)], outputs=["y0"])

    return {
        "250000 nodes": later(relus),
        "50000 attributes": later(attributes),
        "a million numbers": later(
            lambda: model([node("Transpose", ["x"], ["y"], name="t", perm=list(range(1_000_000)))])
        ),
        "300000 inputs of a wrong rank": later(wide),
        "100000 outputs": later(split),
    }
