"""Findings about modules that the text form cannot spell."""

from __future__ import annotations

import pytest

from lepton_ir.diagnostics import LeptonError
from lepton_ir.ir import REGISTRY, Block, Builder, DType, Function, Location, Module, Region, SequenceType, sym, tensor
from lepton_ir.text import parse_module
from lepton_ir.verifier import is_compatible, verify

SOURCE = """module {
  func @main(%x: tensor<4xf32>, %c: tensor<bool>) -> (tensor<4xf32>) {
    %a = relu(%x)
    %b = leaky_relu(%a) {alpha = 0.5}
    %k = kernel @k(%b) {
      ^(%p: tensor<4xf32>):
      %q = exp(%p)
      yield %q
    }
    return %k
  }
}"""


def module_and_ops() -> tuple[Module, dict[str, object]]:
    module = parse_module(SOURCE, file="m.lir")
    return module, {op.name: op for op in module.walk()}


def findings(module: Module) -> list[str]:
    with pytest.raises(LeptonError) as caught:
        verify(module)
    return [str(d) for d in caught.value.diagnostics]


def test_a_valid_module_passes() -> None:
    verify(module_and_ops()[0])


def test_a_use_before_the_definition_is_found() -> None:
    module, ops = module_and_ops()
    relu, leaky = ops["relu"], ops["leaky_relu"]
    leaky.detach()
    relu.parent.insert_before(relu, leaky)
    (text,) = findings(module)
    assert "m.lir:4:5: error: leaky_relu: operand 0 is not defined before its use" in text
    assert "it is a result of relu at m.lir:3:5" in text and "in the function @main" in text


def test_a_kernel_that_captures_an_outer_value_is_found() -> None:
    module, ops = module_and_ops()
    ops["exp"].set_operand(0, ops["relu"].results[0])
    assert "exp: operand 0 is not defined before its use" in findings(module)[0]


def test_a_broken_use_list_is_found_from_both_ends() -> None:
    module, ops = module_and_ops()
    uses = ops["relu"].results[0]._uses
    uses.clear()
    assert "leaky_relu: operand 0 does not know of this use" in findings(module)[0]
    uses[(ops["leaky_relu"], 0)] = None
    uses[(ops["exp"], 3)] = None
    assert "exp: a value lists a use as operand 3 that is none" in findings(module)[0]


def test_a_use_outside_of_the_module_is_found() -> None:
    module, ops = module_and_ops()
    REGISTRY["neg"].build(ops["relu"].results[0])
    assert "neg: an operation outside of the module uses a value" in findings(module)[0]


def test_wrong_attributes_are_all_found() -> None:
    module, ops = module_and_ops()
    ops["leaky_relu"].attributes = {"alpha": "high", "beta": 1}
    texts = findings(module)
    assert "leaky_relu: the attribute alpha must be a number, got 'high'" in texts[0]
    assert "leaky_relu: has no attribute beta" in texts[1]
    del ops["kernel"].attributes["symbol"]
    assert any("kernel: the attribute symbol is missing" in t for t in findings(module))


def test_an_unlinked_operation_is_found() -> None:
    module, ops = module_and_ops()
    ops["leaky_relu"].parent = Block()
    assert "leaky_relu: the operation is not linked into its block" in findings(module)[0]


def test_a_region_of_another_operation_is_found() -> None:
    module, ops = module_and_ops()
    ops["kernel"].regions[0].parent = None
    assert "kernel: a region does not belong to the operation" in findings(module)[0]


def test_function_heads_are_checked() -> None:
    function = Function("f", [tensor([sym("batch size"), -1])], result_names=["a", "b"], location=Location("m.onnx"))
    Builder(function.body).return_([function.arguments[0]])
    module = Module([function])
    module.functions = {"main": function}
    text = "\n".join(findings(module))
    assert "the module knows the function @f as @main" in text
    assert "the dimension name 'batch size'" in text and "is no identifier" in text
    assert "the dimension -1" in text
    assert "@main has 2 result names and 1 results" in text


def test_a_function_without_a_body_is_found() -> None:
    assert "an empty block must end in return" in findings(Module([Function("main")]))[0]


def test_compatible_types_differ_only_in_what_is_known() -> None:
    n, s = sym("N"), sym("S")
    assert is_compatible(tensor([2, 4]), tensor([n, 4]))
    assert is_compatible(tensor([n, 4]), tensor([s, 4]))
    assert not is_compatible(tensor([n]), tensor([n + 1]))
    assert not is_compatible(tensor([4]), tensor([5]))
    assert not is_compatible(tensor([4]), tensor([4, 1]))
    assert not is_compatible(tensor([4]), tensor([4], DType.F16))
    assert is_compatible(SequenceType(tensor([n])), SequenceType(tensor([3])))
    assert not is_compatible(SequenceType(tensor([3])), tensor([3]))


def test_nested_regions_see_the_values_around_them() -> None:
    module = parse_module(
        """module {
  func @main(%x: tensor<4xf32>, %c: tensor<bool>) -> (tensor<4xf32>) {
    %y = control.if(%c) then {
      %z = control.if(%c) then { yield %x } else { %n = neg(%x) yield %n }
      yield %z
    } else { yield %x }
    return %y
  }
}"""
    )
    verify(module)
    inner = next(op for op in module.walk() if op.name == "neg")
    module.main.return_op.set_operand(0, inner.results[0])
    assert "return: operand 0 is not defined before its use" in findings(module)[0]


def test_regions_are_adopted_by_their_operation() -> None:
    region = Region()
    Builder(region.block).yield_([])
    op = REGISTRY["kernel"].build([], symbol="k", regions=[region])
    assert region.parent is op and op.results == ()
