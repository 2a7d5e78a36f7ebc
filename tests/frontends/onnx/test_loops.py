"""Loops of which only the running program knows the trips, against ONNX Runtime."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from lepton_frontends.onnx.load import import_model
from onnx import parser

import lepton_ir
from lepton_ir.diagnostics import LeptonError
from lepton_ir.interp import run
from lepton_ir.text import parse_module

HEADER = '<ir_version: 8, opset_import: ["" : 17]>\n'
X = np.arange(1, 4, dtype=np.float32)

COLLECTS_ROWS = """g (int64 n, float[3] x) => (y, rows) {
  c = Constant<value = bool {1}>()
  y, rows = Loop(n, c, x) <body = b (int64 i, bool ci, float[3] a) => (bool co, float[3] an, float[3] r) {
    co = Identity(ci)
    an = Add(a, a)
    r = Identity(an)
  }>
}"""
GROWS = """g (int64 n, float[K] x) => (y) {
  c = Constant<value = bool {1}>()
  y = Loop(n, c, x) <body = b (int64 i, bool ci, float[L] a) => (bool co, float[M] an) {
    co = Identity(ci)
    an = Concat<axis=0>(a, x)
  }>
}"""
ROWS_OF_A_SIZE_THAT_DATA_DECIDES = """g (int64 n, int64[1] m, float[K] x) => (rows) {
  c = Constant<value = bool {1}>()
  z = Constant<value = int64[1] {0}>()
  rows = Loop(n, c) <body = b (int64 i, bool ci) => (bool co, float[M] r) {
    co = Identity(ci)
    r = Slice(x, z, m)
  }>
}"""
WHILE = """g (float x) => (y, rows) {
  c = Constant<value = bool {1}>()
  y, rows = Loop( , c, x) <body = b (int64 i, bool ci, float a) => (bool co, float an, float r) {
    t = Constant<value = float {100.0}>()
    an = Add(a, a)
    co = Less(an, t)
    r = Identity(a)
  }>
}"""
SCANS = """g (float[T, 3] x, float[3] s) => (last, sums) {
  last, sums = Scan<num_scan_inputs = 1, scan_input_directions = [1], scan_output_axes = [1],
                    scan_output_directions = [1], body = b (float[3] a, float[3] r) => (float[3] an, float[3] o) {
    an = Add(a, r)
    o = Identity(an)
  }>(s, x)
}"""
CASES = [
    (COLLECTS_ROWS, [{"n": np.array(n), "x": X} for n in (0, 1, 5, 300)]),
    (GROWS, [{"n": np.array(n), "x": X} for n in (0, 1, 4)]),
    (ROWS_OF_A_SIZE_THAT_DATA_DECIDES, [{"n": np.array(n), "m": np.array([2]), "x": X} for n in (1, 4)]),
    (WHILE, [{"x": np.array(x, np.float32)} for x in (1, 4, 200)]),
    (SCANS, [{"x": np.arange(3 * t, dtype=np.float32).reshape(t, 3), "s": X} for t in (1, 4, 300)]),
]


@pytest.mark.parametrize(("text", "feeds"), CASES, ids=["rows", "grows", "sizes", "while", "scan"])
def test_loops(text, feeds):
    model = parser.parse_model(HEADER + text)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    module = import_model(model)
    compiled = lepton_ir.runtime.load(lepton_ir.compile(module, verify=False), threads=1)
    for given in feeds:
        wanted = session.run(None, given)
        for results in (compiled(**given), run(module, list(given.values()))):
            for got, want in zip(results, wanted, strict=True):
                np.testing.assert_allclose(got, want, rtol=1e-6, strict=True)


def test_a_loop_over_nothing_collects_nothing():
    module = import_model(parser.parse_model(HEADER + SCANS))
    compiled = lepton_ir.runtime.load(lepton_ir.compile(module, verify=False), threads=1)
    last, sums = compiled(np.zeros((0, 3), np.float32), X)
    np.testing.assert_array_equal(last, X)
    assert sums.shape == (3, 0)


def test_rows_of_a_dynamic_size_after_no_trip():
    text = """g (float[N, 3] x, int64 n) => (rows) {
      c = Constant<value = bool {1}>()
      rows = Loop(n, c) <body = b (int64 i, bool ci) => (bool co, float[N, 3] r) {
        co = Identity(ci)
        r = Neg(x)
      }>
    }"""
    artifact = lepton_ir.compile(import_model(parser.parse_model(HEADER + text)))
    model = lepton_ir.runtime.load(artifact, threads=1)
    x = np.ones((4, 3), np.float32)
    np.testing.assert_array_equal(model(x, np.array(2))[0], np.stack([-x, -x]))
    assert model(x, np.array(0))[0].shape == (0, 4, 3)


def test_an_endless_loop_is_an_error():
    text = """module {
      func @main(%c: tensor<bool>, %x: tensor<4xf32>) -> (tensor<4xf32>) {
        %0 = control.loop(none, none, %x) {budget = 50} {
          ^(%i: tensor<i64>, %a: tensor<4xf32>):
          %b = neg(%a)
          yield %c, %b
        }
        return %0
      }
    }"""
    module = parse_module(text)
    compiled = lepton_ir.runtime.load(lepton_ir.compile(module, verify=False), threads=1)
    x = np.ones(4, np.float32)
    for runs in (compiled, lambda *given: run(module, given)):
        with pytest.raises(LeptonError, match="did not end after 50 trips"):
            runs(np.array(True), x)
    np.testing.assert_array_equal(compiled(np.array(False), x)[0], -x)


def loop(result, start, *body):
    """Return a loop of n trips that carries a vector ``a``, of which its body makes ``an``."""
    lines = "\n".join(body)
    name = f"of_{result}"
    return f"""{result} = Loop(n, c, {start}) <body = {name} (int64 i_{result}, bool ci_{result}, float[3] a_{result})
      => (bool co_{result}, float[3] an_{result}) {{
      co_{result} = Identity(ci_{result})
      {lines}
    }}>"""


def vector_model(outputs, *nodes):
    lines = "\n".join(nodes)
    return f"g (int64 n, float[3] x) => ({outputs}) {{ c = Constant<value = bool {{1}}>()\n{lines} }}"


TWO_IN_A_ROW = vector_model("y, z", loop("y", "x", "an_y = Add(a_y, a_y)"), loop("z", "y", "an_z = Neg(a_z)"))
ONE_IN_ANOTHER = vector_model("y", loop("y", "x", "two = Add(a_y, a_y)", loop("an_y", "two", "an_an_y = Neg(a_an_y)")))


@pytest.mark.parametrize("text", [TWO_IN_A_ROW, ONE_IN_ANOTHER])
def test_loops_that_carry_values_of_one_type(text):
    model = parser.parse_model(HEADER + text)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    compiled = lepton_ir.runtime.load(lepton_ir.compile(import_model(model)), threads=1)
    for trips in (0, 1, 3):
        given = {"n": np.array(trips), "x": X}
        for got, want in zip(compiled(**given), session.run(None, given), strict=True):
            np.testing.assert_array_equal(got, want)
