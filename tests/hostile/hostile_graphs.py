"""Graphs, opsets and functions that are not valid."""

from __future__ import annotations

import numpy as np
from hostile_case import ACCEPTED, BOOL, I64, With, changed, family, info, ints, model, node, subgraph
from onnx import GraphProto, ModelProto, TensorProto, ValueInfoProto, helper, numpy_helper


def relu():
    return model([node("Relu", ["x"], ["y"], name="relu")])


def nodes(*made, **options):
    return model(list(made), **options)


@family("graph")
def broken():
    a = node("Relu", ["x"], ["y"], name="first")
    return {
        "cycle": With(nodes(node("Add", ["x", "b"], ["a"], name="n1"), node("Add", ["x", "a"], ["b"], name="n2"),
                            node("Relu", ["b"], ["y"])), ("n1", "n2")),
        "node reads itself": With(nodes(node("Add", ["x", "y"], ["y"], name="self")), ("self",)),
        "long cycle": nodes(*(node("Relu", [f"v{(i + 1) % 3000}"], [f"v{i}"]) for i in range(3000)), outputs=["v0"]),
        "cycle in a branch": nodes(
            node("If", ["c"], ["y"], name="if", then_branch=subgraph([node("Add", ["r", "x"], ["r"], name="inner")]),
                 else_branch=subgraph([node("Relu", ["x"], ["r"])])),
            inputs=[info("x", [2, 4]), info("c", [], BOOL)],
        ),
        "undefined input": With(nodes(node("Add", ["x", "ghost"], ["y"], name="add")), ("ghost", "add")),
        "undefined output": With(nodes(a, outputs=["y", "ghost"]), ("ghost",)),
        "no name for an output": nodes(a, outputs=["y", ""]),
        "no name for an input": nodes(a, inputs=[info("x", [2]), info("", [2])]),
        "reads a later branch": nodes(
            node("If", ["c"], ["z"], then_branch=subgraph([node("Relu", ["x"], ["r"])]),
                 else_branch=subgraph([node("Neg", ["x"], ["r"])])),
            node("Relu", ["r"], ["y"], name="outside"), inputs=[info("x", [2, 4]), info("c", [], BOOL)],
        ),
        "name twice": With(nodes(a, node("Neg", ["x"], ["y"], name="second")), ("second", "first")),
        "name twice in a node": nodes(node("Split", ["x"], ["y", "y"], name="split", axis=1, num_outputs=2)),
        "defines the input": With(nodes(a, node("Neg", ["y"], ["x"], name="again")), ("again",)),
        "defines a weight": nodes(a, node("Neg", ["y"], ["w"], name="again"), weights={"w": np.ones(2, np.float32)}),
        "input twice": changed(relu(), lambda m: m.graph.input.append(m.graph.input[0])),
        "weight twice": changed(
            model([node("Add", ["x", "w"], ["y"])], weights={"w": np.ones(4, np.float32)}),
            lambda m: m.graph.initializer.append(m.graph.initializer[0]),
        ),
        "weight without a name": changed(
            relu(), lambda m: m.graph.initializer.append(numpy_helper.from_array(np.ones(2, np.float32)))
        ),
        "weight of another type than its input": model(
            [node("Add", ["x", "w"], ["y"])], [info("x", [4]), info("w", [4], I64)], weights={"w": np.ones(4, np.float32)}
        ),
        "output of another type": nodes(a, outputs=[info("y", [2, 4], I64)]),
        "input without a type": changed(relu(), lambda m: m.graph.input[0].ClearField("type")),
        "input of type 0": changed(relu(), lambda m: m.graph.input[0].type.tensor_type.ClearField("elem_type")),
        "input of type 99": changed(relu(), lambda m: setattr(m.graph.input[0].type.tensor_type, "elem_type", 99)),
        "input is a sequence": changed(
            relu(), lambda m: setattr(m.graph.input[0].type.sequence_type.elem_type.tensor_type, "elem_type", 1)
        ),
        "input of unknown rank": changed(relu(), lambda m: m.graph.input[0].type.tensor_type.ClearField("shape")),
        "no operator": nodes(node("", ["x"], ["y"], name="nameless")),
        "unknown operator": With(nodes(node("Frobnicate", ["x"], ["y"], name="frob")), ("frob", "Frobnicate")),
        "unknown domain": nodes(node("Relu", ["x"], ["y"], domain="acme")),
        "domain without an opset": nodes(node("Gelu", ["x"], ["y"], domain="com.microsoft")),
        "only an output": model([], [], ["y"]),
        "empty graph": ModelProto(ir_version=8, graph=GraphProto(name="g"), opset_import=[helper.make_opsetid("", 18)]),
    }  # fmt: skip


@family("opsets")
def opsets():
    def version(number, domain=""):
        return changed(relu(), lambda m: m.opset_import.add(domain=domain, version=number) if domain
                       else setattr(m.opset_import[0], "version", number))  # fmt: skip

    return {
        "0": version(0), "-1": version(-1), "999": version(999), "2**40": version(1 << 40),
        "2**63-1": version((1 << 63) - 1), "-2**63": version(-(1 << 63)),
        "none": changed(relu(), lambda m: m.ClearField("opset_import")),
        "twice": changed(relu(), lambda m: m.opset_import.add(domain="", version=17)),
        "twice by alias": changed(relu(), lambda m: m.opset_import.add(domain="ai.onnx", version=17)),
        "other domain 0": version(0, "acme"), "other domain -5": version(-5, "com.microsoft"),
        "other domain 2**40": version(1 << 40, "com.microsoft"),
        "only another": changed(relu(), lambda m: setattr(m.opset_import[0], "domain", "acme")),
        "IR version 99": changed(relu(), lambda m: setattr(m, "ir_version", 99)),
        "IR version 0": changed(relu(), lambda m: setattr(m, "ir_version", 0)),
        "IR version -1": changed(relu(), lambda m: setattr(m, "ir_version", -1)),
        "operator newer than the opset": nodes(node("Gelu", ["x"], ["y"], name="gelu"), opset=10),
    }  # fmt: skip


def calling(functions, op="F", inputs=("x",), outputs=("y",), opset=18, **attributes):
    return model(
        [node(op, list(inputs), list(outputs), name="call", domain="acme", **attributes)],
        functions=functions, domains=["acme"], opset=opset,
    )  # fmt: skip


def function(name, inputs, outputs, body, attributes=()):
    imports = [helper.make_opsetid("", 18), helper.make_opsetid("acme", 1)]
    return helper.make_function("acme", name, inputs, outputs, body, imports, list(attributes))


def call(name, *inputs):
    return node(name, list(inputs), [f"{name}_{inputs[0]}"], domain="acme")


def nested(levels, base):
    """Return functions of which each calls the one before it twice."""
    made = [base]
    for i in range(1, levels):
        body = [node(f"F{i - 1}", ["a"], ["t"], domain="acme"), node(f"F{i - 1}", ["t"], ["b"], domain="acme")]
        made.append(function(f"F{i}", ["a"], ["b"], body))
    return made


@family("functions")
def functions():
    plain = function("F", ["a"], ["b"], [node("Relu", ["a"], ["b"])])
    leak = node("LeakyRelu", ["a"], ["b"])
    leak.attribute.add(name="alpha", ref_attr_name="slope", type=1)
    chain = [function("C0", ["a"], ["b"], [node("Relu", ["a"], ["b"])])]
    chain += [function(f"C{i}", ["a"], ["b"], [node(f"C{i - 1}", ["a"], ["b"], domain="acme")]) for i in range(1, 400)]
    branch = function("B", ["a", "c"], ["b"], [node(
        "If", ["c"], ["b"], then_branch=subgraph([node("B", ["a", "c"], ["r"], domain="acme")]),
        else_branch=subgraph([node("Relu", ["a"], ["r"])]))])  # fmt: skip
    return {
        "2**31 nodes": calling(nested(32, function("F0", ["a"], ["b"], [node("Neg", ["a"], ["b"])])), "F31"),
        "2**31 empty calls": calling(nested(32, function("F0", ["a"], ["a"], [])), "F31"),
        "2**60 calls": calling(nested(61, function("F0", ["a"], ["b"], [node("Neg", ["a"], ["b"])])), "F60"),
        "400 deep": calling(chain, "C399"),
        "calls itself": With(calling([function("F", ["a"], ["b"], [node("F", ["a"], ["b"], domain="acme")])]), ("F",)),
        "calls itself in a branch": model(
            [node("B", ["x", "c"], ["y"], domain="acme", name="call")], [info("x", [2, 4]), info("c", [], BOOL)],
            functions=[branch], domains=["acme"],
        ),
        "call each other": calling([
            function("F", ["a"], ["b"], [node("G", ["a"], ["b"], domain="acme")]),
            function("G", ["a"], ["b"], [node("F", ["a"], ["b"], domain="acme")]),
        ]),
        "too many inputs": With(calling([plain], inputs=("x", "x")), ("call",)),
        "too few inputs": calling([plain], inputs=()),
        "too many outputs": With(calling([plain], outputs=("y", "z")), ("call",)),
        "attribute is missing": With(calling([function("F", ["a"], ["b"], [leak], ["slope"])]), ("slope", "call")),
        "attribute is unknown": With(calling([plain], speed=3), ("speed", "call")),
        "attribute of another type": calling([function("F", ["a"], ["b"], [leak], ["slope"])], slope="steep"),
        "defined twice": calling([plain, plain]),
        "not defined": calling([], "F"),
        "undefined output": calling([function("F", ["a"], ["ghost"], [node("Relu", ["a"], ["b"])])]),
        "undefined input": calling([function("F", ["a"], ["b"], [node("Add", ["a", "x"], ["b"])])]),
        "names an input twice": calling([function("F", ["a", "a"], ["b"], [node("Relu", ["a"], ["b"])])], inputs=("x", "x")),
        "cycle": calling([function("F", ["a"], ["b"], [node("Add", ["a", "b"], ["b"])])]),
        "name twice": calling([function("F", ["a"], ["b"], [node("Relu", ["a"], ["b"]), node("Neg", ["a"], ["b"])])]),
        "opset 999": calling([changed(
            function("F", ["a"], ["b"], [node("Relu", ["a"], ["b"])]),
            lambda f: setattr(f.opset_import[0], "version", 999))]),
        "opset -7": calling([changed(
            function("F", ["a"], ["b"], [node("Relu", ["a"], ["b"])]),
            lambda f: setattr(f.opset_import[0], "version", -7))]),
        "attribute reference outside of a function": changed(
            model([node("LeakyRelu", ["x"], ["y"], name="leak")]),
            lambda m: m.graph.node[0].attribute.add(name="alpha", ref_attr_name="slope", type=1),
        ),
    }  # fmt: skip


@family("functions", ACCEPTED)
def good_functions():
    plain = function("F", ["a"], ["b"], [node("Relu", ["a"], ["b"])])
    return {
        "nested": calling(nested(6, function("F0", ["a"], ["b"], [node("Neg", ["a"], ["b"])])), "F5"),
        "unused": calling([plain, function("G", ["a"], ["b"], [node("Neg", ["a"], ["b"])])]),
    }


@family("several")
def several():
    bad = [
        node("Frobnicate", ["x"], ["a"], name="unknown"),
        node("Conv", ["i", "k"], ["b"], name="stride", strides=[0, 1]),
        node("Transpose", ["x"], ["c"], name="perm", perm=[0, 0]),
        node("Softmax", ["x"], ["d"], name="axis", axis=7),
        node("Add", ["x"], ["e"], name="arity"),
        node("Add", ["x", "n"], ["f"], name="types"),
        node("Relu", ["x"], ["g"], name="attribute", speed=9),
        node("Relu", ["ghost"], ["h"], name="missing"),
        node("Concat", ["x", "x"], ["j"], name="lacks"),
        node("Relu", ["x"], ["x"], name="twice"),
        node("ConstantOfShape", ["s"], ["l"], name="huge"),
        node("Add", ["o", "x"], ["o"], name="cycle"),
    ]
    names = tuple(str(n.name) for n in bad)
    proto = model(
        bad,
        [info("x", [2, 4]), info("i", [1, 1, 8, 8]), info("n", [4], I64), info("q", [1 << 40])],
        ["a", "b", "c", "d", "e", "f", "g", "h", "j", "l"],
        {"k": np.ones((1, 1, 3, 3), np.float32), "s": ints(1 << 40), "t": TensorProto(name="t", data_type=1, dims=[3])},
    )
    return {"fourteen at once": With(proto, (*names, "input q", "tensor t"))}


@family("strange", ACCEPTED)
def strange():
    order = [
        node("Neg", ["b"], ["y"], name="n2"),
        node("Relu", ["a"], ["b"], name="n1"),
        node("Exp", ["x"], ["a"], name="n0"),
    ]
    long = "n" * 3000
    deep = subgraph([node("Relu", ["x"], ["r"])])
    for i in range(8):
        deep = subgraph([node("If", ["c"], ["r"], name=f"if{i}", then_branch=deep,
                              else_branch=subgraph([node("Neg", ["x"], ["r"])]))])  # fmt: skip
    return {
        "unsorted": model(order),
        "unsorted 200": model([node("Neg", [f"v{i}"], [f"v{i + 1}"]) for i in reversed(range(200))], [info("v0", [4])], ["v200"]),
        "output is the input": model([node("Identity", ["x"], ["y"])], outputs=["y"]),
        "no inputs": model([node("Add", ["w", "w"], ["y"])], [], weights={"w": np.ones(4, np.float32)}),
        "unused nodes": model([node("Relu", ["x"], ["y"]), node("Neg", ["x"], ["z"])]),
        "same node names": With(
            model([node("Relu", ["x"], ["a"], name="n"), node("Neg", ["a"], ["y"], name="n")]), reference="the interpreter"
        ),
        "long names": model([node("Relu", ["x"], [long], name=long), node("Neg", [long], ["y"])]),
        "names of other scripts": model([node("Relu", ["x"], ["größe.日本/🙂"], name="узел"), node("Neg", ["größe.日本/🙂"], ["y"])]),
        "names that are code": model([node("Relu", ["x"], ["%0 = const {"], name='") }'), node("Neg", ["%0 = const {"], ["main"])],
                                     outputs=["main"]),
        "names that are markup": model([node("Relu", ["[red]x[/]"], ["[/bold]"], name="[/]")], [info("[red]x[/]", [4])], ["[/bold]"]),
        "names that are paths": model([node("Relu", ["../../x"], ["/etc/y"], name="/dev/null")], [info("../../x", [4])], ["/etc/y"]),
        "names that are formats": model([node("Relu", ["x%s%n{0}"], ["$(y)`y`"])], [info("x%s%n{0}", [4])], ["$(y)`y`"]),
        "names that turn the direction": model([node("Relu", ["x"], ["a\u202eb"], name="\u2067"), node("Neg", ["a\u202eb"], ["y"])]),
        "dimension names": model([node("Relu", ["x"], ["y"])], [info("x", ["floordiv", "N M", "-1", "x", "é"])]),
        "dimensions of -1": changed(relu(), lambda m: setattr(m.graph.input[0].type.tensor_type.shape.dim[0], "dim_value", -1)),
        "rank 0": model([node("Relu", ["x"], ["y"])], [info("x", [])]),
        "rank 12": model([node("Relu", ["x"], ["y"])], [info("x", [1, 2] * 6)]),
        "no elements": model([node("Relu", ["x"], ["y"])], [info("x", [0, 4])]),
        "branches inside of branches": model([deep.node[0], node("Relu", ["r"], ["y"])], [info("x", [2, 4]), info("c", [], BOOL)]),
        "optional inputs left out": model(
            [node("Clip", ["x", "", "m"], ["y"])], weights={"m": np.float32(0.5)}
        ),
        "reduces an axis twice": model([node("ReduceMax", ["x", "a"], ["y"])], weights={"a": ints(0, 0)}),
        "trailing empty inputs": model([node("Clip", ["x", "", ""], ["y"])]),
        "trailing empty outputs": model([node("Dropout", ["x"], ["y", ""])]),
        "domain by its long name": changed(relu(), lambda m: setattr(m.graph.node[0], "domain", "ai.onnx")),
        "weights that are inputs": model(
            [node("Add", ["x", "w"], ["y"])], [info("x", [4]), info("w", [4])], weights={"w": np.ones(4, np.float32)}
        ),
        "output named twice": model([node("Relu", ["x"], ["y"])], outputs=["y", ValueInfoProto(name="y")]),
        "six hundred nodes": model([node(("Exp", "Sin", "Neg")[i % 3], [f"v{i}"], [f"v{i + 1}"]) for i in range(600)], [info("v0", [4])], ["v600"]),
    }  # fmt: skip
