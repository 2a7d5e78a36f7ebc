"""What the importer makes of a model as a whole: names, places, dynamic dimensions, functions, branches, loops."""

import numpy as np
import onnx
import pytest
from lepton_frontends.onnx.load import import_model, load_onnx
from lepton_frontends.onnx.rules import onnx_op
from lepton_frontends.onnx.tensors import DTYPES, TensorReader
from onnx import TensorProto, helper, numpy_helper
from onnx_cases import BOOL, I64, check_with_onnxruntime, info, model, run_onnxruntime

import lepton_ir
from lepton_ir.diagnostics import LeptonError
from lepton_ir.frontend import load_model
from lepton_ir.interp import run
from lepton_ir.verifier import verify

node = helper.make_node
RNG = np.random.default_rng(3)


def f32(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def names_of(module):
    return [op.name for op in module.main.body.ops]


def test_names_and_places_are_kept():
    proto = model([node("Relu", ["x.1"], ["h"], name="/layer/act"), node("Neg", ["h"], ["y:0"])],
                  [info("x.1", [2])], ["y:0"])  # fmt: skip
    module = import_model(proto)
    assert [a.name for a in module.main.arguments] == ["x.1"]
    assert module.main.result_names == ("y:0",)
    assert [op.location.node for op in module.main.body.ops][:2] == ["/layer/act", "Neg_1"]
    assert [op.results[0].name for op in module.main.body.ops if op.results] == ["h", "y:0"]


def test_nodes_in_any_order_are_sorted():
    proto = model(
        [node("Neg", ["b"], ["c"]), node("Abs", ["a"], ["b"]), node("Exp", ["x"], ["a"])], [info("x", [2])], ["c"]
    )
    assert names_of(import_model(proto)) == ["exp", "abs", "neg", "return"]


def test_outputs_may_be_inputs_and_repeat():
    proto = model([node("Relu", ["x"], ["y"])], [info("x", [2])], ["x", "y", "y"])
    x = f32(2)
    got = run(import_model(proto), [x])
    np.testing.assert_array_equal(got[0], x)
    np.testing.assert_array_equal(got[1], got[2])


def test_inputs_with_initializers_are_weights():
    proto = model(
        [node("Add", ["x", "w"], ["y"])], [info("x", [2]), info("w", [2])], ["y"], 8, {"w": f32(2)}, ir_version=3
    )
    assert [a.name for a in import_model(proto).main.arguments] == ["x"]


def test_unused_weights_and_shape_arithmetic_are_gone():
    nodes = [
        node("Shape", ["x"], ["s"]),
        node("Gather", ["s", "zero"], ["n"]),
        node("Concat", ["n", "minus"], ["t"], axis=0),
        node("Reshape", ["x", "t"], ["y"]),
    ]
    weights = {"zero": np.array([0]), "minus": np.array([-1]), "unused": f32(1000)}
    module = import_model(model(nodes, [info("x", ["N", 3, 4])], ["y"], initializers=weights))
    assert names_of(module) == ["tensor.reshape", "return"]
    assert str(module.main.result_types[0]) == "tensor<Nx12xf32>"


class TestDynamicDimensions:
    def test_named_alike_are_one(self):
        proto = model(
            [node("Add", ["a", "b"], ["y"])], [info("a", ["batch size", 3]), info("b", ["batch size", 3])], ["y"]
        )
        assert str(import_model(proto).main.result_types[0]) == "tensor<batch_sizex3xf32>"

    def test_unnamed_ones_get_names_of_their_own(self):
        proto = model([node("Relu", ["x"], ["y"])], [info("x", [None, None])], ["y"])
        assert [str(d) for d in import_model(proto).main.arguments[0].shape] == ["x_d0", "x_d1"]

    def test_names_that_clash_as_identifiers_stay_apart(self):
        proto = model([node("Relu", ["a"], ["y"])], [info("a", ["n.1", "n-1"])], ["y"])
        first, second = import_model(proto).main.arguments[0].shape
        assert first != second

    def test_sizes_can_be_given(self):
        proto = model([node("Relu", ["x"], ["y"])], [info("x", ["N", 3])], ["y"])
        assert import_model(proto, dims={"N": 4}).main.result_types[0].static_shape == (4, 3)
        assert import_model(proto, shapes={"x": [5, None]}).main.result_types[0].static_shape == (5, 3)

    def test_two_dimensions_can_be_made_one(self):
        proto = model([node("Add", ["a", "b"], ["y"])], [info("a", ["N"]), info("b", ["M"])], ["y"])
        assert str(import_model(proto).main.result_types[0]) == "tensor<(max(M, N))xf32>"
        assert str(import_model(proto, dims={"M": "N"}).main.result_types[0]) == "tensor<Nxf32>"

    def test_unknown_names_are_refused(self):
        proto = model([node("Relu", ["x"], ["y"])], [info("x", ["N", 3])], ["y"])
        with pytest.raises(LeptonError, match="no dynamic dimension K") as error:
            import_model(proto, dims={"K": 4})
        assert "it has: N" in str(error.value)
        with pytest.raises(LeptonError, match="no input z"):
            import_model(proto, shapes={"z": [1]})

    @pytest.mark.parametrize("n", [1, 3])
    def test_shape_arithmetic_runs_for_every_size(self, n):
        nodes = [
            node("Shape", ["x"], ["s"]),
            node("Slice", ["s", "zero", "one"], ["batch"]),
            node("Slice", ["s", "two", "three"], ["length"]),
            node("Mul", ["length", "two"], ["doubled"]),
            node("Concat", ["batch", "doubled", "minus"], ["target"], axis=0),
            node("Reshape", ["x", "target"], ["r"]),
            node("ConstantOfShape", ["batch"], ["c"]),
            node("Unsqueeze", ["c", "ones"], ["c2"]),
            node("Add", ["r", "c2"], ["y"]),
        ]
        weights = {"zero": np.array([0]), "one": np.array([1]), "two": np.array([2]), "three": np.array([3]),
                   "minus": np.array([-1]), "ones": np.array([1, 2])}  # fmt: skip
        proto = model(nodes, [info("x", ["N", 6, "S"])], ["y"], initializers=weights)
        check_with_onnxruntime(proto, {"x": f32(n, 6, 4)})


def test_inputs_can_be_made_constants():
    proto = model([node("Expand", ["x", "shape"], ["y"])], [info("x", [3]), info("shape", [2], I64)], ["y"])
    assert not import_model(proto).main.result_types[0].is_static
    module = import_model(proto, constants={"shape": [2, 3]})
    assert [a.name for a in module.main.arguments] == ["x"]
    assert module.main.result_types[0].static_shape == (2, 3)


class TestFunctions:
    def _proto(self, body, alpha):
        reference = onnx.AttributeProto(name="alpha", type=onnx.AttributeProto.FLOAT, ref_attr_name="slope")
        inner = node("LeakyRelu", ["a"], ["b"])
        inner.attribute.append(reference)
        function = helper.make_function("local", "Act", ["a"], ["c"], [inner, node("Neg", ["b"], ["c"])],
                                        [helper.make_opsetid("", 18)], ["slope"])  # fmt: skip
        return model([node("Act", ["x"], ["y"], domain="local", name="call", slope=alpha)], [info("x", [5])], ["y"],
                     functions=[function, *body], domains=["local"])  # fmt: skip

    def test_are_inlined_with_their_attributes(self):
        module = check_with_onnxruntime(self._proto([], 0.3), {"x": f32(5)})
        assert names_of(module) == ["leaky_relu", "neg", "return"]
        assert next(module.main.body.ops).location.node == "call/LeakyRelu_0"

    def test_must_not_be_recursive(self):
        calls = node("Loops", ["a"], ["b"], domain="local")
        function = helper.make_function("local", "Loops", ["a"], ["b"], [calls], [helper.make_opsetid("local", 1)])
        proto = model([node("Loops", ["x"], ["y"], domain="local")], [info("x", [1])], ["y"], functions=[function],
                      domains=["local"])  # fmt: skip
        with pytest.raises(LeptonError, match="calls itself"):
            import_model(proto)

    def test_have_a_budget(self):
        functions = [
            helper.make_function("local", f"F{i}", ["a"], ["b"],
                                 [node(f"F{i - 1}" if i else "Neg", ["a"], ["m"], domain="local" if i else ""),
                                  node(f"F{i - 1}" if i else "Neg", ["m"], ["b"], domain="local" if i else "")],
                                 [helper.make_opsetid("local", 1), helper.make_opsetid("", 18)])
            for i in range(12)
        ]  # fmt: skip
        proto = model([node("F11", ["x"], ["y"], domain="local")], [info("x", [1])], ["y"], functions=functions,
                      domains=["local"])  # fmt: skip
        with pytest.raises(LeptonError, match="too many nodes"):
            import_model(proto, expansion_budget=1000)


def branch(name, nodes, outputs, initializers=()):
    weights = [numpy_helper.from_array(np.asarray(a), n) for n, a in dict(initializers).items()]
    return helper.make_graph(nodes, name, [], [onnx.ValueInfoProto(name=o) for o in outputs], weights)


class TestIf:
    def _proto(self, condition_nodes, condition="c", shape=("N", 3), inputs=()):
        then = branch("t", [node("Add", ["x", "w"], ["a"])], ["a"], {"w": np.float32(2)})
        other = branch("e", [node("Neg", ["x"], ["b"])], ["b"])
        nodes = [*condition_nodes, node("If", [condition], ["y"], name="choice", then_branch=then, else_branch=other)]
        weights = {"three": np.array([3]), "one": np.array([1])}
        return model(nodes, [info("x", list(shape)), *inputs], ["y"], initializers=weights)

    def test_on_a_run_time_condition_becomes_a_branch(self):
        proto = self._proto([], "flag", inputs=[info("flag", [], BOOL)])
        for flag in (True, False):
            module = check_with_onnxruntime(proto, {"x": f32(2, 3), "flag": np.array(flag)})
            assert "control.if" in names_of(module)

    def test_on_a_static_shape_is_decided_at_once(self):
        nodes = [node("Shape", ["x"], ["s"]), node("Gather", ["s", "one"], ["d"]), node("Equal", ["d", "three"], ["c"])]
        module = check_with_onnxruntime(self._proto(nodes), {"x": f32(2, 3)})
        assert names_of(module) == ["const", "add", "return"]

    def test_on_the_rank_is_decided_at_once(self):
        nodes = [node("Shape", ["x"], ["s"]), node("Size", ["s"], ["d"]), node("Equal", ["d", "one"], ["c"])]
        assert names_of(import_model(self._proto(nodes))) == ["neg", "return"]

    @pytest.mark.parametrize("n", [1, 4])
    def test_branches_of_different_rank_take_the_rest_of_the_graph(self, n):
        then = branch("t", [node("Squeeze", ["x", "zero"], ["a"])], ["a"])
        other = branch("e", [node("Identity", ["x"], ["b"])], ["b"])
        nodes = [node("Shape", ["x"], ["s"]), node("Gather", ["s", "zero"], ["d"]), node("Equal", ["d", "one"], ["c"]),
                 node("If", ["c"], ["h"], then_branch=then, else_branch=other),
                 node("ReduceSum", ["h"], ["r"], keepdims=0), node("Exp", ["r"], ["y"])]  # fmt: skip
        weights = {"zero": np.array([0]), "one": np.array([1])}
        proto = model(nodes, [info("x", ["N", 3])], ["y"], initializers=weights)
        module = check_with_onnxruntime(proto, {"x": f32(n, 3)})
        verify(module)
        assert [str(t) for t in module.main.result_types] == ["tensor<f32>"]

    @pytest.mark.parametrize("name", ["product", "odd {} na{0}me {"])
    def test_a_branch_that_fits_no_input_is_an_error_when_it_is_taken(self, name):
        then = branch("t", [node("Relu", ["x"], ["a"])], ["a"])
        other = branch("e", [node("MatMul", ["x", "w"], ["b"], name=name)], ["b"], {"w": f32(7, 3)})
        proto = model([node("If", ["flag"], ["y"], then_branch=then, else_branch=other)],
                      [info("x", [2, 3]), info("flag", [], BOOL)], ["y"])  # fmt: skip
        with pytest.warns(UserWarning, match="else branch fits no input"):
            module = import_model(proto)
        x = f32(2, 3)
        np.testing.assert_array_equal(run(module, [x, np.array(True)])[0], np.maximum(x, 0))
        compiled = lepton_ir.runtime.load(lepton_ir.compile(module.clone(), verify=False))
        for runs in (compiled, lambda *given: run(module, given)):
            with pytest.raises(LeptonError, match="cannot multiply"):
                runs(x, np.array(False))


class TestLoop:
    def _proto(self, trips, inputs=()):
        body = helper.make_graph(
            [node("Add", ["v", "x"], ["v2"]), node("Identity", ["cond"], ["c2"]), node("Mul", ["v2", "v2"], ["scan"])],
            "body",
            [info("i", [], I64), info("cond", [], BOOL), info("v", [3])],
            [info("c2", [], BOOL), info("v2", [3]), info("scan", [3])][: 3 if trips else 2],
        )
        if not trips:
            del body.node[2]
        outputs = ["y", "all"] if trips else ["y"]
        loop = node("Loop", ["trips", "", "start"], outputs, body=body)
        weights = (
            {"trips": np.array(trips), "start": np.zeros(3, np.float32)}
            if trips
            else {"start": np.zeros(3, np.float32)}
        )
        return model([loop], [info("x", [3]), *inputs], outputs, initializers=weights)

    def test_of_known_length_is_unrolled(self):
        module = check_with_onnxruntime(self._proto(4), {"x": f32(3)})
        assert "control.loop" not in names_of(module)

    def test_of_run_time_length_stays_a_loop(self):
        proto = self._proto(0, [info("trips", [], I64)])
        for trips in (0, 5):
            module = check_with_onnxruntime(proto, {"x": f32(3), "trips": np.array(trips)})
            verify(module)
            assert "control.loop" in names_of(module)


def test_function_bodies_of_onnx_stand_in_for_missing_rules():
    labels = np.array([0, 2, 1])
    proto = model([node("SoftmaxCrossEntropyLoss", ["x", "labels"], ["y"], reduction="mean")],
                  [info("x", [3, 4]), info("labels", [3], I64)], ["y"])  # fmt: skip
    check_with_onnxruntime(proto, {"x": f32(3, 4), "labels": labels})


def test_operators_can_be_added():
    @onnx_op("Twice", since=1, domain="test.custom")
    def twice(b, x, *, factor=2.0):
        return b.mul(x, b.like(x, factor))

    proto = model([node("Twice", ["x"], ["y"], domain="test.custom", factor=3.0)], [info("x", [2])], ["y"],
                  domains=["test.custom"])  # fmt: skip
    np.testing.assert_allclose(run(import_model(proto), [np.ones(2, np.float32)])[0], [3, 3])


class TestFiles:
    def test_are_found_by_content(self, tmp_path):
        path = tmp_path / "model.bin"
        onnx.save(model([node("Relu", ["x"], ["y"])], [info("x", [2])], ["y"]), path)
        assert names_of(load_model(path)) == ["relu", "return"]

    @pytest.mark.parametrize("kind", ["raw", "typed", "constant node", "external", "half", "int4"])
    def test_weights_are_read_right(self, tmp_path, kind):
        array = f32(64, 33)
        tensor = numpy_helper.from_array(array, "w")
        if kind == "typed":
            tensor = helper.make_tensor("w", TensorProto.FLOAT, array.shape, array.reshape(-1))
        if kind == "half":
            tensor = numpy_helper.from_array(array.astype(np.float16), "w")
        if kind == "int4":
            array = RNG.integers(-8, 8, (64, 33)).astype(np.float32)
            tensor = helper.make_tensor("w", TensorProto.INT4, array.shape, array.reshape(-1).astype(int))
        cast = [node("Cast", ["w"], ["y"], to=TensorProto.FLOAT)]
        if kind == "constant node":
            cast.insert(0, node("Constant", [], ["w"], value=tensor))
        proto = model(cast, [], ["y"], opset=21, ir_version=10)
        if kind != "constant node":
            proto.graph.initializer.append(tensor)
        path = tmp_path / "m.onnx"
        onnx.save(proto, path, save_as_external_data=kind == "external", location="weights.bin", size_threshold=0)
        np.testing.assert_allclose(
            run(load_onnx(path), [])[0], array, rtol=1e-3 if kind == "half" else 0, atol=1e-3 * (kind == "half")
        )

    def test_weights_are_held_once(self, tmp_path):
        """The peak of memory that Python allocates stays below 1.3 times the file."""
        import tracemalloc

        weights = {f"w{i}": f32(256, 1024) for i in range(8)}
        nodes = [node("Add", ["x" if i == 0 else f"h{i - 1}", f"w{i}"], [f"h{i}"]) for i in range(8)]
        path = tmp_path / "m.onnx"
        onnx.save(model(nodes, [info("x", [256, 1024])], ["h7"], initializers=weights), path)
        load_onnx(path)
        tracemalloc.start()
        module = load_onnx(path)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 1.3 * path.stat().st_size
        x = f32(256, 1024)
        np.testing.assert_allclose(
            run(module, [x])[0], run_onnxruntime(onnx.load(path), {"x": x})[0], rtol=1e-5, atol=1e-5
        )


@pytest.mark.parametrize("name", [TensorProto.DataType.Name(number) for number in DTYPES])
@pytest.mark.parametrize("raw", [False, True])
def test_every_element_type_is_read_right(name, raw):
    number = TensorProto.DataType.Value(name)
    if name == "STRING":
        tensor = helper.make_tensor("w", number, [3], [b"a", b"", "ä".encode()])
        assert TensorReader().read(tensor).array.tolist() == ["a", "", "ä"]
        return
    dtype = helper.tensor_dtype_to_np_dtype(number)
    array = np.array([2, 1, 1, 2, 1]).astype(dtype)
    if name.startswith("INT"):
        array = np.array([0, 1, -1, -2, 1]).astype(dtype)
    tensor = numpy_helper.from_array(array, "w") if raw else helper.make_tensor("w", number, [5], array)
    got = TensorReader().read(tensor).array
    assert got.dtype == dtype
    np.testing.assert_array_equal(got, array)
