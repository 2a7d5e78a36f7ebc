"""Strings inside of compiled programs, against ONNX Runtime."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort
import pytest
from lepton_frontends.onnx.load import import_model as import_onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

import lepton_ir
from lepton_ir.compiler import import_model
from lepton_ir.diagnostics import LeptonError
from lepton_ir.interp import run
from lepton_ir.ops.re2 import RegexError, compiled

STR = TensorProto.STRING
WORDS = np.array([["a", "Über", ""], ["tree", "b", "z z"]], object)


def ints(*values):
    return np.array(values, np.int64)


def single_node(op, arrays, attributes, outputs=1, opset=20, constants=()):
    names = [f"i{k}" for k in range(len(arrays))]
    node = helper.make_node(op, names, [f"o{k}" for k in range(outputs)], name="the_node", **attributes)
    given = [(n, a) for n, a in zip(names, arrays, strict=True) if n not in constants]
    infos = [helper.make_tensor_value_info(n, type_of(a), shape_of(n, a)) for n, a in given]
    weights = [numpy_helper.from_array(a, n) for n, a in zip(names, arrays, strict=True) if n in constants]
    results = [helper.make_empty_tensor_value_info(o) for o in node.output]
    graph = helper.make_graph([node], "g", infos, results, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9), dict(given)


def shape_of(name, array):
    """Return a dynamic shape for strings, a fixed one for numbers that may be shapes themselves."""
    return [f"{name}_{i}" for i in range(array.ndim)] if array.dtype == object else array.shape


def type_of(array):
    return STR if array.dtype == object else helper.np_dtype_to_tensor_dtype(array.dtype)


def runners(proto):
    module = import_model(import_onnx(proto))
    ready = lepton_ir.runtime.load(lepton_ir.compile(module, verify=False), threads=1)
    return ready, lambda **feeds: run(import_model(import_onnx(proto)), feeds)


def check(op, arrays, attributes, evaluator=False, **rest):
    """Compare compiled code and the interpreter with ONNX Runtime, or with the ONNX reference evaluator."""
    proto, feeds = single_node(op, arrays, attributes, **rest)
    if evaluator:
        wanted = ReferenceEvaluator(proto).run(None, feeds)
    else:
        wanted = ort.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, feeds)
    for runs in runners(proto):
        for _ in range(2):
            for got, want in zip(runs(**feeds), wanted, strict=True):
                dtype = object if want.dtype.kind in "OU" else want.dtype
                assert (got.dtype, got.shape) == (dtype, want.shape)
                np.testing.assert_array_equal(got, want.astype(dtype))


TWO = np.array([["x", "tree", ""], ["tree", "b", "é"]], object)
CASES = {
    "concat": ("StringConcat", [WORDS, TWO], {}),
    "concat with one": ("StringConcat", [WORDS, np.array("-", object)], {}),
    "concat along an axis": ("Concat", [WORDS, TWO], {"axis": 1}),
    "equal": ("Equal", [WORDS, TWO], {}),
    "where": ("Where", [WORDS == TWO, WORDS, np.array("else", object)], {}),
    "gather": ("Gather", [WORDS, ints(1, 0, 1)], {"axis": 0}),
    "reshape": ("Reshape", [WORDS, ints(3, -1)], {}),
    "expand": ("Expand", [WORDS, ints(2, 1, 1)], {}),
    "tile": ("Tile", [WORDS, ints(2, 1)], {}),
    "transpose": ("Transpose", [WORDS], {"perm": [1, 0]}),
    "squeeze": ("Unsqueeze", [WORDS, ints(0)], {}),
    "slice": ("Slice", [WORDS, ints(1), ints(3), ints(1)], {}),
    "split": ("Split", [WORDS, ints(1, 1)], {"axis": 0}),
    "normalize": ("StringNormalizer", [WORDS[1]], {"case_change_action": "UPPER", "stopwords": ["TREE", "c"]}),
    "normalize as spelled": (
        "StringNormalizer",
        [np.array([["Tree", "tree", "b"]], object)],
        {"case_change_action": "LOWER", "is_case_sensitive": 1, "stopwords": ["tree"]},
    ),
    "nothing left": (
        "StringNormalizer",
        [np.array(["x", "X"], object)],
        {"case_change_action": "LOWER", "stopwords": ["x"]},
    ),
    "nothing left of a row": ("StringNormalizer", [np.array([["x"]], object)], {"stopwords": ["x"]}),
}


@pytest.mark.parametrize("name", CASES)
def test_strings(name):
    op, arrays, attributes = CASES[name]
    check(op, arrays, attributes, evaluator=True, outputs=2 if name == "split" else 1)


@pytest.mark.parametrize("name", ["gather", "concat", "equal", "where"])
def test_strings_of_the_model_itself(name):
    op, arrays, attributes = CASES[name]
    check(op, arrays, attributes, evaluator=True, constants=("i1",))
    check(op, arrays, attributes, evaluator=True, constants=("i0",))


@pytest.mark.parametrize(
    "attributes",
    [{}, {"delimiter": "-"}, {"delimiter": "--", "maxsplit": 1}, {"maxsplit": 1}],
    ids=str,
)
@pytest.mark.parametrize("shape", [(3, 1), (3,)], ids=str)
def test_split(attributes, shape):
    check("StringSplit", [np.array(["a--b-c", " x  y z ", "-"], object).reshape(shape)], attributes, outputs=2)


NUMBERS = ["1", "-2.5", "1e3", "+INF", "-inf", "nan", "1E-5", "007"]


@pytest.mark.parametrize("to", [TensorProto.FLOAT, TensorProto.DOUBLE], ids=["f32", "f64"])
def test_from_strings_to_floats(to):
    check("Cast", [np.array(NUMBERS, object)], {"to": to})


@pytest.mark.parametrize("to", [TensorProto.INT64, TensorProto.INT8, TensorProto.INT32], ids=["i64", "i8", "i32"])
def test_from_strings_to_integers(to):
    check("Cast", [np.array(["1", "-128", "0", "127"], object)], {"to": to})


@pytest.mark.parametrize(
    "x",
    [
        np.array([1, 0.1, -2.5, 1 / 3, np.inf, -np.inf, np.nan], np.float32),
        ints(1, -(2**63), 2**63 - 1),
        np.array([0, 255], np.uint8),
    ],
    ids=lambda a: str(a.dtype),
)
def test_to_strings(x):
    check("Cast", [x], {"to": STR})


def test_no_strings():
    check("Cast", [np.empty((0, 2), object)], {"to": TensorProto.FLOAT})
    check("StringConcat", [np.empty((0, 2), object), np.empty((0, 2), object)], {})


@pytest.mark.parametrize(("text", "to"), [("a", 1), ("1_0", 1), ("x", 7), ("300", 3), ("nan", 7)])
def test_strings_that_are_no_numbers(text, to):
    proto, _ = single_node("Cast", [WORDS[0]], {"to": to})
    ready, _ = runners(proto)
    for _ in range(2):
        with pytest.raises(LeptonError, match="the_node") as error:
            ready(np.array(["1", text], object))
        assert text in str(error.value)


PATTERNS = [
    (r"www\.[\w.-]+\.\bcom\b", ["www.a.com", "www.a-b.c.com", "www..com", "xwww.a.com"]),
    (r"(\W|^)[\w.\-]{0,25}@(yahoo|gmail)\.com(\W|$)", ["a@yahoo.com", "x@gmail.com\n", "@yahoo.comm"]),
    (r"a.c", ["abc", "a\nc", "aéc"]),
    (r"(?s)a.c", ["abc", "a\nc"]),
    (r"(?i)ab", ["AB", "aB", "b"]),
    (r"\w+", ["abc", "é", "1_"]),
    (r"\d+", ["12", "٣"]),
    (r"a\s", ["a ", "a\t", "a\v", "a\xa0"]),
    (r"a\Sb", ["axb", "a b", "a\vb"]),
    (r"[\sx]+", ["x \t", "\v", "y"]),
    (r"ab$", ["ab", "ab\n"]),
    (r"ab\z", ["ab", "ab\n"]),
    (r"[]a]+[^]]", ["]ab", "aa", "a]"]),
    (r"a{2,3}?b*", ["aab", "aaa", "a", "aaaa"]),
    (r"\x41|\.|\/", ["A", ".", "/", "a"]),
    ("", ["", "a"]),
]


@pytest.mark.parametrize(("pattern", "texts"), PATTERNS)
def test_regular_expressions(pattern, texts):
    check("RegexFullMatch", [np.array(texts, object)], {"pattern": pattern})


@pytest.mark.parametrize(
    "pattern",
    [r"a(?=b)", r"(?<!a)b", r"(a)\1", r"(?P<n>a)(?P=n)", r"\pL", r"[[:alpha:]]", r"\Qa.b\E", r"a\Z", r"(?>a)b", r"a++",
     r"(?x)a b", r"(?#no)a", r"(a)(?(1)b|c)", r"a{,3}", r"a{2000}", r"(?U)a+", r"[\S]", r"(a", "[a", "*a", "a\\",
     r"\x{41}", r"(?<n>a)", "a**"],
)  # fmt: skip
def test_patterns_that_are_refused(pattern):
    with pytest.raises(RegexError):
        compiled(pattern)
    proto, _ = single_node("RegexFullMatch", [WORDS], {"pattern": pattern})
    with pytest.raises(LeptonError, match="the_node"):
        import_onnx(proto)


def test_only_strings_are_strings():
    proto, _ = single_node("StringConcat", [WORDS, WORDS], {})
    ready, _ = runners(proto)
    with pytest.raises(LeptonError, match=r"i1: .* strings"):
        ready(WORDS, np.array([[1, 2, 3]], object))
    assert ready(np.array([[b"\xc3\xa9"]], object), np.array([["b"]]))[0].tolist() == [["éb"]]
    assert ready(np.array([[b"a"]]), np.array([["b"]]))[0].tolist() == [["ab"]]


def test_a_row_must_be_one():
    proto, _ = single_node("StringNormalizer", [WORDS], {})
    ready, _ = runners(proto)
    with pytest.raises(LeptonError, match="the_node"):
        ready(WORDS)


def test_strings_that_are_not_empty():
    x = np.array([["b", ""], ["", "a"]], object)
    graph = helper.make_graph(
        [helper.make_node("NonZero", ["x"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.STRING, [2, 2])],
        [helper.make_tensor_value_info("y", TensorProto.INT64, [2, "k"])],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    model = lepton_ir.runtime.load(lepton_ir.compile(import_onnx(proto), verify=False))
    assert model(x)[0].tolist() == [[0, 1], [0, 1]]
