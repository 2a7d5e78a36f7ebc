"""Inputs that fit what a model does with them."""

from __future__ import annotations

import numpy as np

from lepton_ir.sampling import sample_inputs
from lepton_ir.text import parse_module


def drawn(text: str, **options: object) -> np.ndarray:
    (found,) = sample_inputs(parse_module(text).main, **options).values()  # type: ignore[arg-type]
    return np.asarray(found)


def tokens(end: int) -> str:
    return f"""module {{
      func @main(%x: tensor<2x64xi64>) -> (tensor<2x64x3xf32>, tensor<2x64xbool>) {{
        %table = const dense<0.5> : tensor<100x3xf32>
        %end = const dense<{end}> : tensor<i64>
        %0 = tensor.gather(%table, %x)
        %1 = eq(%x, %end)
        return %0, %1
      }}
    }}"""


def test_indices_that_are_told_from_others_come_up_beside_others() -> None:
    found = drawn(tokens(7))
    assert found.min() >= 0 and found.max() < 100
    assert 2 <= (found == 7).sum() <= 40
    assert len(np.unique(found)) > 20


def test_indices_stay_in_the_table_whatever_they_are_compared_with() -> None:
    assert drawn(tokens(49407)).max() < 100


def test_numbers_that_are_only_compared_are_those_of_the_model() -> None:
    text = """module {
      func @main(%x: tensor<i64>) -> (tensor<bool>) {
        %rate = const dense<16000> : tensor<i64>
        %0 = eq(%x, %rate)
        return %0
      }
    }"""
    assert drawn(text) == 16000


def test_strings_are_those_that_are_looked_up() -> None:
    text = """module {
      func @main(%x: tensor<64x2xstr>) -> (tensor<64xi64>) {
        %column = const dense<1> : tensor<i64>
        %0 = tensor.gather(%x, %column) {axis = 1}
        %1 = str.find(%0) {terms = ["a", "b"]}
        return %1
      }
    }"""
    assert set(drawn(text).reshape(-1)) == {"a", "b"}


def test_the_range_of_integers_that_nothing_bounds() -> None:
    text = """module {
      func @main(%x: tensor<64xi64>) -> (tensor<64xi64>) {
        %0 = neg(%x)
        return %0
      }
    }"""
    assert set(drawn(text)) == {0, 1}
    assert set(drawn(text, reach=(3, 6))) == {3, 4, 5}
