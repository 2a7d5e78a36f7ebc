"""Gradient of ai.onnx.preview.training, compiled, against central differences by the ONNX reference evaluator."""

import math

import numpy as np
import onnx
import pytest
from lepton_frontends.onnx.load import import_model
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

import lepton_ir
from lepton_ir.diagnostics import LeptonError

RNG = np.random.default_rng(0)
TRAINING = "ai.onnx.preview.training"
STEP = 1e-5


def some(*shape, low=-2.0, high=2.0):
    """Return numbers that no kink of a function is nearer to than a step."""
    x = RNG.uniform(low, high, shape)
    return np.where(np.abs(x - np.round(x * 2) / 2) < 1e-3, x + 5e-3, x)


def forward(nodes, arrays, dims=None):
    """Return a model of ``nodes`` from x0, x1, ... to a loss; those that hold integers are initializers."""
    inputs = [
        helper.make_tensor_value_info(f"x{i}", helper.np_dtype_to_tensor_dtype(a.dtype), (dims or {}).get(i, a.shape))
        for i, a in enumerate(arrays)
        if a.dtype != np.int64
    ]
    constants = [onnx.numpy_helper.from_array(a, f"x{i}") for i, a in enumerate(arrays) if a.dtype == np.int64]
    graph = helper.make_graph(nodes, "g", inputs, [helper.make_value_info("loss", onnx.TypeProto())], constants)
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid(TRAINING, 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def weighing(arrays, nodes):
    """Return the nodes of a loss that weighs the elements of y unevenly."""
    y = loss_of(forward([*nodes, helper.make_node("Identity", ["y"], ["loss"])], arrays), arrays)
    weights = helper.make_tensor("weights", TensorProto.DOUBLE, y.shape, RNG.uniform(0.5, 2, y.size))
    return [
        helper.make_node("Constant", [], ["c"], value=weights),
        helper.make_node("Mul", ["y", "c"], ["yc"]),
        helper.make_node("ReduceSum", ["yc"], ["loss"], keepdims=0),
    ]


def feeds(arrays):
    return {f"x{i}": a for i, a in enumerate(arrays) if a.dtype != np.int64}


def loss_of(model, arrays):
    return ReferenceEvaluator(model).run(None, feeds(arrays))[0]


def differences(model, arrays, wrt):
    """Return the derivatives of the loss by central differences."""
    evaluator = ReferenceEvaluator(model)
    slope = np.zeros_like(arrays[wrt])
    for place in np.ndindex(*slope.shape):
        losses = []
        for step in (STEP, -STEP):
            moved = [a.copy() for a in arrays]
            moved[wrt][place] += step
            losses.append(evaluator.run(None, feeds(moved))[0])
        slope[place] = (losses[0] - losses[1]) / (2 * STEP)
    return slope


def differentiated(model, arrays, wrt, dims=None):
    """Return what the compiled Gradient gives."""
    xs = [f"x{i}" for i in wrt]
    zs = [name for name in feeds(arrays) if name not in xs]
    results = [f"d{i}" for i in wrt]
    node = helper.make_node("Gradient", [*xs, *zs], results, "grad", domain=TRAINING, xs=xs, y="loss",
                            **({"zs": zs} if zs else {}))  # fmt: skip
    whole = onnx.ModelProto()
    whole.CopyFrom(model)
    whole.graph.node.append(node)
    del whole.graph.output[:]
    whole.graph.output.extend(helper.make_value_info(r, onnx.TypeProto()) for r in results)
    artifact = lepton_ir.compile(import_model(onnx.shape_inference.infer_shapes(whole)), verify=False)
    return lepton_ir.runtime.load(artifact, threads=2)(*feeds(arrays).values())


def check(arrays, *nodes, dims=None, alike=None):
    """Compare the gradients by every floating-point input; the evaluator may get other nodes that mean the same."""
    arrays = [np.asarray(a) for a in arrays]
    wrt = [i for i, a in enumerate(arrays) if a.dtype == np.float64]
    if dims:
        loss = [helper.make_node("Mul", ["y", "y"], ["square"])]
        loss.append(helper.make_node("ReduceSum", ["square"], ["loss"], keepdims=0))
    else:
        loss = weighing(arrays, alike or nodes)
    model, meant = (forward([*n, *loss], arrays, dims) for n in (nodes, alike or nodes))
    wanted = [differences(meant, arrays, i) for i in wrt]
    for f, w in zip(differentiated(model, arrays, wrt), wanted, strict=True):
        assert (f.shape, f.dtype) == (w.shape, w.dtype)
        np.testing.assert_allclose(f, w, rtol=2e-5, atol=2e-6 * max(1, np.abs(w).max()))
    assert max(np.abs(w).max() for w in wanted) > 1e-3 or nodes[-1].op_type in ("Floor", "Sign")


def node(op, count, **attributes):
    return helper.make_node(op, [f"x{i}" for i in range(count)], ["y"], **attributes)


def ints(*values):
    return np.array(values, np.int64)


UNARY = {
    **dict.fromkeys(["Neg", "Abs", "Exp", "Sin", "Cos", "Atan", "Sinh", "Cosh", "Tanh", "Asinh", "Sigmoid",
                     "Relu", "LeakyRelu", "Elu", "Selu", "Softplus", "Softsign", "HardSigmoid", "HardSwish",
                     "Mish", "ThresholdedRelu", "Shrink", "Floor", "Sign"], (-2, 2)),
    **dict.fromkeys(["Log", "Sqrt", "Reciprocal"], (0.3, 2)),
    **dict.fromkeys(["Asin", "Acos", "Atanh", "Tan"], (-0.9, 0.9)),
    "Acosh": (1.2, 3),
}  # fmt: skip


@pytest.mark.parametrize("op", UNARY)
def test_unary(op):
    low, high = UNARY[op]
    check([some(3, 4, low=low, high=high)], node(op, 1))


def loss_free(op, x, **attributes):
    return forward([node(op, 1, **attributes), helper.make_node("ReduceSum", ["y"], ["loss"], keepdims=0)], [x])


def test_by_formula():
    """Where the evaluator computes in float32, or ONNX knows no float64."""
    x = some(20)
    (found,) = differentiated(loss_free("Erf", x), [x], [0])
    np.testing.assert_allclose(found, 2 / math.sqrt(math.pi) * np.exp(-x * x), rtol=1e-12)
    (found,) = differentiated(loss_free("Gelu", x), [x], [0])
    below = np.array([0.5 * math.erfc(-v / math.sqrt(2)) for v in x])
    np.testing.assert_allclose(found, below + x * np.exp(-x * x / 2) / math.sqrt(2 * math.pi), rtol=1e-12)
    x = np.array([-800, -2, -0.5, 0.5, 800], np.float32)
    (found,) = differentiated(loss_free("Celu", x, alpha=0.7), [x], [0])
    np.testing.assert_allclose(found, np.where(x > 0, 1, np.exp(np.minimum(x, 0) / 0.7)), rtol=1e-5, atol=1e-30)


@pytest.mark.parametrize("op", ["Elu", "Selu", "Softplus", "Sigmoid", "Tanh", "Gelu", "Mish"])
def test_far_from_zero_there_is_no_nan(op):
    x = np.array([-800.0, -30, 30, 800])
    model = forward([node(op, 1), *weighing([x], [node(op, 1)])], [x])
    (found,) = differentiated(model, [x], [0])
    assert np.isfinite(found).all()


@pytest.mark.parametrize("shapes", [((3, 4), (3, 4)), ((2, 3, 4), (3, 1)), ((4,), (2, 1, 4)), ((3,), ())])
@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Div", "Max", "Min", "Pow", "Mod"])
def test_binary(op, shapes):
    a, b = some(*shapes[0]), some(*shapes[1])
    if op == "Pow":
        a = np.abs(a) + 0.2
    if op in ("Div", "Mod"):
        b = np.where(np.abs(b) < 0.3, b + 1, b)
    check([a, b], node(op, 2, **({"fmod": 1} if op == "Mod" else {})))


def test_prelu():
    check([some(2, 3, 4), some(3, 1)], node("PRelu", 2))


def test_power_at_zero():
    x, whole = np.array([0.0, 0.0, 0.0, 1.5]), np.array([0.0, 1.0, 2.0, 0.0])
    model = forward([node("Pow", 2), helper.make_node("ReduceSum", ["y"], ["loss"], keepdims=0)], [x, whole])
    by_base, _ = differentiated(model, [x, whole], [0, 1])
    np.testing.assert_array_equal(by_base, [0, 1, 0, 0])


def test_where_and_clip():
    check([RNG.random((3, 4)) > 0.5, some(3, 4), some(4)], node("Where", 3))
    check([some(5, 6), np.array(-0.7), np.array(0.9)], node("Clip", 3))


@pytest.mark.parametrize("keepdims", [0, 1])
@pytest.mark.parametrize("op", ["Sum", "Mean", "Max", "Min", "Prod", "L1", "L2", "SumSquare", "LogSum", "LogSumExp"])
def test_reductions(op, keepdims):
    x = some(3, 4, 2)
    check([np.abs(x) + 0.1 if op == "LogSum" else x, ints(0, 2)], node(f"Reduce{op}", 2, keepdims=keepdims))


def test_product_with_zeros():
    x = np.array([[0.0, 2, 3], [0, 0, 3], [1, 2, 3]])
    check([x, ints(1)], node("ReduceProd", 2))


def test_moving_elements():
    check([some(3, 4), ints(2, 6)], node("Reshape", 2))
    check([some(2, 3, 4)], node("Transpose", 1, perm=[2, 0, 1]))
    check([some(3, 1), ints(2, 3, 4)], node("Expand", 2))
    check([some(2, 3), some(2, 4)], node("Concat", 2, axis=-1))
    check([some(2, 3), ints(2, 2)], node("Tile", 2))
    check([some(4, 4)], node("Trilu", 1, upper=0))
    check([some(3, 4), ints(1, 0, 0, 2), np.array(0.5)], node("Pad", 3))
    check([some(3, 4), np.array(1)], node("CumSum", 2, exclusive=1, reverse=1))
    check([some(2, 7)], helper.make_node("Split", ["x0"], ["y", ""], axis=1, num_outputs=2))


@pytest.mark.parametrize("bounds", [(1, 6, 2), (6, 1, -2), (-1, -8, -1), (2, 100, 3), (0, 7, 1), (3, 3, 1)])
def test_slices(bounds):
    start, end, step = bounds
    nodes = [node("Slice", 5)]
    x = [some(7, 3), ints(start), ints(end), ints(0), ints(step)]
    if start == end:
        nodes = [helper.make_node("Slice", [f"x{i}" for i in range(5)], ["s"]),
                 helper.make_node("ReduceSum", ["s"], ["t"], keepdims=0), helper.make_node("ReduceSum", ["x0"], ["u"],
                 keepdims=0), helper.make_node("Add", ["t", "u"], ["y"])]  # fmt: skip
    check(x, *nodes)


def test_indexing():
    check([some(3, 5, 2), ints(1, -1, 1, 0).reshape(2, 2)], node("Gather", 2, axis=1))
    check([some(3, 5), RNG.integers(-3, 3, (2, 5))], node("GatherElements", 2, axis=0))
    check([some(3, 4, 2), ints(0, 1, 2, 3, 0, 1).reshape(3, 2)], node("GatherND", 2))
    check([some(4, 3), ints(2, 0).reshape(2, 1), some(2, 3)], node("ScatterND", 3))
    check([some(4, 3), ints(2, 2).reshape(2, 1), some(2, 3)], node("ScatterND", 3, reduction="add"))
    check([some(3, 4), ints(3, 1).reshape(2, 1), some(2, 1)], node("ScatterElements", 3, axis=1))
    check([some(3, 6), ints(2)], helper.make_node("TopK", ["x0", "x1"], ["y", ""]))


@pytest.mark.parametrize("shapes", [((3, 4), (4, 5)), ((4,), (4, 5)), ((2, 3, 4), (4,)), ((2, 1, 3, 4), (5, 4, 2)),
                                    ((4,), (4,))])  # fmt: skip
def test_matmul(shapes):
    check([some(*s) for s in shapes], node("MatMul", 2))


@pytest.mark.parametrize("flags", [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_gemm(flags):
    a, b = some(*((4, 3) if flags[0] else (3, 4))), some(*((5, 4) if flags[1] else (4, 5)))
    check([a, b, some(5)], node("Gemm", 3, transA=flags[0], transB=flags[1], alpha=0.5))


def test_einsum():
    check([some(2, 3, 4), some(4, 2, 5)], node("Einsum", 2, equation="bij,jbk->bki"))


CONVS = {
    "plain": ((2, 3, 6, 5), (4, 3, 3, 2), {}),
    "strides that leave some out": ((1, 2, 8, 7), (3, 2, 3, 3), {"strides": [2, 3], "pads": [1, 0, 0, 2]}),
    "groups and dilations": ((2, 4, 7, 7), (6, 2, 2, 3), {"group": 2, "dilations": [2, 2]}),
    "depthwise": ((1, 3, 5, 5), (3, 1, 3, 3), {"group": 3, "pads": [1, 1, 1, 1]}),
    "one axis": ((2, 2, 9), (3, 2, 4), {"strides": [2]}),
}


@pytest.mark.parametrize("name", CONVS)
def test_convolution(name):
    x, w, attributes = CONVS[name]
    check([some(*x), some(*w), some(w[0])], node("Conv", 3, **attributes))


@pytest.mark.parametrize("attributes", [{"dilations": [2, 1]}, {"strides": [2, 2], "output_padding": [1, 0]}])
def test_transposed_convolution(attributes):
    check([some(2, 4, 3, 4), some(4, 3, 3, 2), some(3)], node("ConvTranspose", 3, **attributes))


def test_transposed_convolution_in_groups():
    apart = [
        helper.make_node("Split", ["x0"], ["a", "c"], axis=1, num_outputs=2),
        helper.make_node("Split", ["x1"], ["v", "w"], axis=0, num_outputs=2),
        helper.make_node("ConvTranspose", ["a", "v"], ["left"], pads=[1, 0, 1, 1]),
        helper.make_node("ConvTranspose", ["c", "w"], ["right"], pads=[1, 0, 1, 1]),
        helper.make_node("Concat", ["left", "right"], ["y"], axis=1),
    ]
    whole = node("ConvTranspose", 2, group=2, pads=[1, 0, 1, 1])
    check([some(2, 4, 3, 4), some(4, 3, 3, 2)], whole, alike=apart)


def test_pooling():
    check([some(2, 3, 6, 6)], node("MaxPool", 1, kernel_shape=[3, 2], strides=[2, 2], pads=[1, 0, 1, 0]))
    check([some(1, 2, 7)], node("MaxPool", 1, kernel_shape=[3], strides=[2], ceil_mode=1))
    for include in (0, 1):
        check([some(2, 3, 7, 6)], node("AveragePool", 1, kernel_shape=[3, 2], strides=[2, 2], pads=[1, 0, 1, 0],
                                       count_include_pad=include))  # fmt: skip
    check([some(2, 3, 4, 4)], node("GlobalAveragePool", 1))


def test_normalizations_and_softmax():
    check([some(2, 3, 4), some(4), some(4)], node("LayerNormalization", 3, axis=-1))
    check([some(2, 4, 3), some(4), some(4)], node("InstanceNormalization", 3))
    check([some(2, 3, 4), some(3), some(3), some(3), some(3, low=0.5)], node("BatchNormalization", 5))
    check([some(2, 3, 4)], node("Softmax", 1, axis=1))
    check([some(2, 3, 4)], node("LogSoftmax", 1, axis=-1))


def test_losses():
    check([some(4, 3), ints(0, 2, 1, 1)], node("SoftmaxCrossEntropyLoss", 2))
    check([some(4, 3), ints(0, 2, 1, 1), some(3, low=0.5)], node("NegativeLogLikelihoodLoss", 3, reduction="sum"))


def test_a_chain_in_which_values_are_used_twice():
    check(
        [some(3, 4), some(4, 4)],
        helper.make_node("MatMul", ["x0", "x1"], ["h"]),
        helper.make_node("Tanh", ["h"], ["t"]),
        helper.make_node("Mul", ["t", "h"], ["m"]),
        helper.make_node("Sub", ["m", "x0"], ["y"]),
    )


def test_dynamic_sizes():
    check([some(3, 4), some(4, 2)], node("MatMul", 2), dims={0: ("n", 4)})
    check([some(3, 4), ints(0)], node("ReduceMean", 2), dims={0: ("n", "m")})


def test_a_gradient_of_a_gradient():
    """The second derivative of x^3 is 6 x."""
    x = some(5)
    nodes = [
        helper.make_node("Mul", ["x0", "x0"], ["s"]),
        helper.make_node("Mul", ["s", "x0"], ["cube"]),
        helper.make_node("Gradient", ["x0"], ["slope"], "first", domain=TRAINING, xs=["x0"], y="cube"),
        helper.make_node("Identity", ["slope"], ["loss"]),
    ]
    (found,) = differentiated(forward(nodes, [x]), [x], [0])
    np.testing.assert_allclose(found, 6 * x, rtol=1e-12)


def test_at_another_point_and_by_an_intermediate_value():
    """d(h * z)/dh is z, where z is fed another tensor than the one of this name."""
    nodes = [
        helper.make_node("Exp", ["x0"], ["h"]),
        helper.make_node("Mul", ["h", "x1"], ["p"]),
        helper.make_node("Mul", ["p", "h"], ["y"]),
        helper.make_node("Gradient", ["x0", "x2"], ["d"], "grad", domain=TRAINING, xs=["h", "x1"], y="y"),
    ]
    arrays = [some(3), some(3), some(3)]
    model = forward(nodes, arrays)
    model.graph.output[0].name = "d"
    artifact = lepton_ir.compile(import_model(model), verify=False)
    (found,) = lepton_ir.runtime.load(artifact, threads=1)(*arrays)
    np.testing.assert_allclose(found, 2 * arrays[0] * arrays[2], rtol=1e-12)


def test_weights_that_are_initializers():
    x, w = some(2, 3), some(3, 2)
    nodes = [helper.make_node("MatMul", ["x0", "x1"], ["y"])]
    model = forward([*nodes, *weighing([x, w], nodes)], [x, w])
    model.graph.node.append(
        helper.make_node("Gradient", ["x1", "x0"], ["d"], domain=TRAINING, xs=["x1"], zs=["x0"], y="loss")
    )
    wanted = differences(model_without_last(model), [x, w], 1)
    model.graph.initializer.append(onnx.numpy_helper.from_array(w, "x1"))
    del model.graph.input[1]
    model.graph.output[0].name = "d"
    artifact = lepton_ir.compile(import_model(model), verify=False)
    np.testing.assert_allclose(lepton_ir.runtime.load(artifact, threads=1)(x)[0], wanted, rtol=2e-5)


def model_without_last(model):
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    del copy.graph.node[-1]
    return copy


def test_what_does_not_depend_on_a_variable_is_zero():
    x, z = some(3), some(2, 2)
    model = forward([node("Exp", 1), helper.make_node("ReduceSum", ["y"], ["loss"], keepdims=0)], [x, z])
    found = differentiated(model, [x, z], [0, 1])
    np.testing.assert_array_equal(found[1], np.zeros((2, 2)))


BAD = {
    "nothing in the model is called lost": ({"xs": ["x0"], "y": "lost"}, ["x0"]),
    "1 inputs for the 2 tensors": ({"xs": ["x0", "x1"], "y": "y"}, ["x0"]),
    "only floats have a derivative": ({"xs": ["x1"], "y": "y"}, ["x1"]),
    "linalg.det, whose derivative Lepton does not know (node det)": ({"xs": ["x0"], "y": "y"}, ["x0"]),
    "form a cycle": ({"xs": ["x0"], "y": "z"}, ["x0"]),
}


@pytest.mark.parametrize("why", BAD)
def test_refusals_name_the_node(why):
    attributes, inputs = BAD[why]
    nodes = [
        helper.make_node("Det", ["x0"], ["y"], "det"),
        helper.make_node("Gradient", inputs, ["loss"], "grad", domain=TRAINING, **attributes),
        helper.make_node("Neg", ["loss"], ["z"], "neg"),
    ]
    with pytest.raises(LeptonError) as error:
        import_model(forward(nodes, [some(2, 2), ints(1)]))
    (found,) = error.value.diagnostics[:1]
    assert why in str(found) and found.where.node == "grad"
