"""What is printed reads back as what it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from module_strategies import modules

from lepton_ir.ir import Constant, Module
from lepton_ir.text import parse_module, print_module
from lepton_ir.text.printer import Printer

QUICK = settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


def arrays_of(module: Module, elide_above: int) -> dict[str, np.ndarray]:
    printer = Printer(elide_above)
    printer.module(module)
    return {name: constant.array for name, constant in printer.constants.named.items()}


def meaning(value: Any) -> Any:
    """Return an attribute's value in a form in which equal means the same, NaN included."""
    if isinstance(value, Constant):
        return str(value.type), value.digest
    if isinstance(value, (tuple, list)):
        return [meaning(v) for v in value]
    if isinstance(value, dict):
        return {k: meaning(v) for k, v in value.items()}
    return type(value), repr(value)


def structure(module: Module) -> list[Any]:
    """Return everything about a module that the text must keep."""
    numbers: dict[Any, int] = {}
    rows: list[Any] = [meaning(module.attributes)]
    for function in module.functions.values():
        names = function.result_names if any(function.result_names) else ()
        rows.append((function.name, names, meaning(function.attributes), function.location))
        for value in function.arguments:
            numbers[value] = len(numbers)
            rows.append(str(value.type))
        for op in function.walk():
            for value in [*(a for r in op.regions for a in r.block.arguments), *op.results]:
                numbers[value] = len(numbers)
            operands = [None if v is None else numbers.get(v) for v in op.operands]
            rows.append((op.name, operands, [str(r.type) for r in op.results], meaning(op.attributes), op.location))
    return rows


@QUICK
@given(modules(), st.sampled_from([0, 16]))
def test_any_module_reads_back_as_it_was(module: Module, elide_above: int) -> None:
    text = print_module(module, locations=True, elide_above=elide_above)
    again = parse_module(text, arrays_of(module, elide_above))
    assert structure(again) == structure(module)
    assert print_module(again, locations=True, elide_above=elide_above) == text


@QUICK
@given(modules())
def test_text_without_locations_is_stable(module: Module) -> None:
    text = print_module(module)
    assert print_module(parse_module(text, arrays_of(module, 16))) == text


@settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(modules())
def test_the_side_file_keeps_every_constant(tmp_path: Path, module: Module) -> None:
    path = tmp_path / "w.safetensors"
    path.unlink(missing_ok=True)
    text = print_module(module, weights_path=path, elide_above=0, locations=True)
    again = parse_module(text, path if path.exists() else None)
    assert structure(again) == structure(module)
