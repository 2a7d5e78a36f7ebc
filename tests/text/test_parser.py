"""Reading text: weights, files, messages."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from lepton_ir.diagnostics import LeptonError
from lepton_ir.ir import Builder, Constant, DType, Function, Module, tensor
from lepton_ir.text import load_module, parse_module, print_module, print_operation, save_module
from lepton_ir.text.weights import load_weights, save_weights

NAMED = """module {
  func @main() -> (tensor<4x8xf32>) {
    %w = const @w : tensor<4x8xf32>
    return %w
  }
}"""
W = np.arange(32, dtype=np.float32).reshape(4, 8)


def message(text: str, **options: object) -> str:
    with pytest.raises(LeptonError) as caught:
        parse_module(text, **options)  # type: ignore[arg-type]
    return str(caught.value)


def module_with(*arrays: tuple[str, np.ndarray]) -> Module:
    function = Function("main")
    b = Builder(function.body)
    b.return_([b.const(array, name=name) for name, array in arrays])
    return Module([function])


def constants_of(module: Module) -> list[Constant]:
    return [op.attributes["value"] for op in module.walk() if op.name == "const"]


def test_an_error_shows_the_line_and_a_caret() -> None:
    assert message("module {\n  func @f() -> () {\n    %a = conv()\n  }\n}", file="a.lir").splitlines() == [
        "a.lir:3:10: error: unknown operator conv",
        "      %a = conv()",
        "           ^",
        "  help: did you mean nn.conv?",
    ]


def test_an_unreadable_character_is_shown() -> None:
    assert "1:8: error: cannot read '!'" in message("module !")


@pytest.mark.parametrize("text", ["", "modul {}", "module {} module {}", "module { func @f }"])
def test_what_is_no_module_is_refused(text: str) -> None:
    assert "error" in message(text)


def test_named_constants_come_from_the_weights_once() -> None:
    twice = NAMED.replace("return", "%v = const @w : tensor<4x8xf32>\n return")
    first, second = constants_of(parse_module(twice, {"w": W}))
    assert (first is second and first.array.base is not None) or first.array is W
    np.testing.assert_array_equal(first.array, W)


def test_weights_that_do_not_fit_are_refused() -> None:
    assert "did you mean v?" not in message(NAMED)
    assert "the weights have no constant @w" in message(NAMED, weights={"v": W})
    assert "the constant @w is a tensor<32xf32>, not a tensor<4x8xf32>" in message(NAMED, weights={"w": W.reshape(-1)})


def test_a_module_is_saved_with_its_weights_and_loaded(tmp_path: Path) -> None:
    path = tmp_path / "m.lir"
    save_module(module_with(("w", W), ("small", W[0, :2])), path)
    assert (tmp_path / "m.safetensors").is_file()
    w, small = constants_of(load_module(path))
    np.testing.assert_array_equal(w.array, W)
    np.testing.assert_array_equal(small.array, W[0, :2])
    assert (w.name, small.name) == ("w", "small")
    assert not w.array.flags.owndata and not w.array.flags.writeable


def test_a_module_without_large_constants_needs_no_side_file(tmp_path: Path) -> None:
    save_module(module_with(("small", W[0, :2])), tmp_path / "m.lir")
    assert [p.name for p in tmp_path.iterdir()] == ["m.lir"]


def test_a_missing_file_is_explained(tmp_path: Path) -> None:
    with pytest.raises(LeptonError, match="cannot read"):
        load_module(tmp_path / "no.lir")
    with pytest.raises(LeptonError, match="cannot read the weights file"):
        load_weights(tmp_path / "no.safetensors")


@pytest.mark.parametrize("keep", [0, 5, 40, -1])
def test_a_damaged_side_file_is_refused(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "w.safetensors"
    save_weights(path, {"w": Constant(W)})
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(LeptonError, match="whole safetensors file"):
        load_weights(path)


def test_equal_constants_are_stored_once(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    text = print_module(module_with(("a", W), ("b", W.copy()), ("c", W + 1)), weights_path=path)
    assert path.stat().st_size < 2 * W.nbytes + 512
    a, b, c = constants_of(parse_module(text, path))
    assert a.array is b.array or np.shares_memory(a.array, b.array)
    np.testing.assert_array_equal(c.array, W + 1)
    assert [x.name for x in (a, b, c)] == ["a", "b", "c"]


def test_different_constants_of_one_name_stay_apart(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    text = print_module(module_with(("w", W), ("w", W + 1), ("", W + 2), ("", W + 3)), weights_path=path)
    for i, constant in enumerate(constants_of(parse_module(text, path))):
        np.testing.assert_array_equal(constant.array, W + i)


@pytest.mark.parametrize("dtype", [d for d in DType if d is not DType.STR])
def test_the_side_file_keeps_every_element_type(tmp_path: Path, dtype: DType) -> None:
    path = tmp_path / "w.safetensors"
    array = (np.arange(20) % (2 if dtype.bits < 8 else 20)).astype(dtype.numpy)
    save_weights(path, {"w": Constant(array.reshape(4, 5))})
    loaded = load_weights(path)["w"]
    assert loaded.dtype == dtype.numpy and loaded.shape == (4, 5)
    np.testing.assert_array_equal(loaded.reshape(-1).view(np.uint8), array.view(np.uint8))


def test_the_side_file_keeps_strings(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_weights(path, {"w": Constant(np.array([["a", "é"], ["", '"']], object))})
    assert load_weights(path)["w"].tolist() == [["a", "é"], ["", '"']]


def test_other_tools_read_the_side_file(tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    path = tmp_path / "w.safetensors"
    save_weights(path, {"w": Constant(W), "h": Constant(W.astype(np.float16)), "i": Constant(W.astype(ml_dtypes.int4))})
    theirs = load_file(path)
    np.testing.assert_array_equal(theirs["w"], W)
    np.testing.assert_array_equal(theirs["h"], W.astype(np.float16))


def test_we_read_the_files_of_other_tools(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    path = tmp_path / "w.safetensors"
    save_file({"w": W, "b": W[0] > 3}, path)
    loaded = load_weights(path)
    np.testing.assert_array_equal(loaded["w"], W)
    np.testing.assert_array_equal(loaded["b"], W[0] > 3)


def test_one_operation_prints_alone() -> None:
    module = parse_module("module { func @f(%x: tensor<4xf32>) -> () { %a = relu(%x) %b = neg(%a) return } }")
    op = next(op for op in module.walk() if op.name == "neg")
    assert print_operation(op) == "%b = neg(%a) : tensor<4xf32>"


def test_an_invalid_module_prints_too() -> None:
    function = Function("main", [tensor([4])], ["x"])
    b = Builder(function.body)
    b.neg(b.relu(function.arguments[0]))
    relu, neg = list(function.walk())
    relu.detach()
    assert "%0 = neg(%?) : tensor<4xf32>" in print_module(Module([function]))
    assert neg.operands[0] is relu.results[0]


def test_types_are_inferred_where_they_are_not_stated() -> None:
    module = parse_module("module { func @f(%x: tensor<Nx3xf32>) -> (tensor<3xNxf32>) "
                          "{ %y = tensor.transpose(%x) {perm = [1, 0]} return %y } }")  # fmt: skip
    assert str(module.functions["f"].results[0].type) == "tensor<3xNxf32>"
    bad = "module { func @f(%x: tensor<3xf32>, %y: tensor<4xf32>) -> () { %z = add(%x, %y) return } }"
    assert "add does not fit its operands" in message(bad)
    assert "add takes 2 operands, got 1" in message(bad.replace("(%x, %y)", "(%x)"))
