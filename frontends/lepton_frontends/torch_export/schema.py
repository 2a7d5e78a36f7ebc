"""The JSON of torch.export archives: element types, symbolic sizes, places.

Source: torch/_export/serde/schema.py, version 8.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from lepton_frontends.common.errors import UnsupportedError
from lepton_frontends.common.places import is_pytorch
from lepton_ir.ir.dim import Dim, dmax, dmin, sym
from lepton_ir.ir.location import Location
from lepton_ir.ir.types import DType, TensorType

SCALAR_TYPES = {
    1: DType.U8, 2: DType.I8, 3: DType.I16, 4: DType.I32, 5: DType.I64, 6: DType.F16, 7: DType.F32, 8: DType.F64,
    10: DType.C64, 11: DType.C128, 12: DType.BOOL, 13: DType.BF16, 28: DType.U16, 29: DType.F8E4M3FN,
    30: DType.F8E5M2, 31: DType.F8E4M3FNUZ, 32: DType.F8E5M2FNUZ, 33: DType.F8E8M0FNU, 34: DType.U32, 35: DType.U64,
}  # fmt: skip
_TOKEN = re.compile(r"\s*(?:(\w+)\(|(-?\d+)|('[^']*')|(\w+=\w+)|([(),]))")
_FRAME = re.compile(r'File "([^"]*)", line (\d+)')
_DEEPEST = 50


def dtype_of(code: int) -> DType:
    """Return the element type of a scalar type's code.

    Raises:
        UnsupportedError: Lepton has none.
    """
    if code not in SCALAR_TYPES:
        raise UnsupportedError(f"Lepton has no element type for torch.export's scalar type {code}")
    return SCALAR_TYPES[code]


def type_of(meta: Mapping[str, Any]) -> TensorType:
    """Return the type that a tensor's metadata describes."""
    return TensorType(tuple(map(size_of, meta["sizes"])), dtype_of(meta["dtype"]))


def size_of(size: Mapping[str, Any]) -> Dim:
    """Return a size, which may be an expression over symbols."""
    if "as_int" in size:
        return int(size["as_int"])
    return _Expression(str(size["as_expr"]["expr_str"])).parse()


class _Expression:
    """Reads an expression as sympy's srepr writes it, such as ``Mul(Integer(2), Symbol('s0', integer=True))``."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def parse(self) -> Dim:
        """Return the expression as a dimension."""
        return self._expression(0)

    def _next(self) -> re.Match[str]:
        match = _TOKEN.match(self.text, self.at)
        if match is None:
            raise UnsupportedError(f"the size {self.text[:80]!r} cannot be read")
        self.at = match.end()
        return match

    def _expression(self, depth: int) -> Dim:
        token = self._next()
        if token[2] is not None:
            return int(token[2])
        if token[1] is None or depth > _DEEPEST:
            raise UnsupportedError(f"the size {self.text[:80]!r} cannot be read")
        if token[1] == "Symbol":
            name = self._next()[3].strip("'")
            while self._next()[5] != ")":
                pass
            return sym(name)
        parts: list[Dim] = []
        while True:
            parts.append(self._expression(depth + 1))
            if self._next()[5] == ")":
                return self._made(token[1], parts)

    def _made(self, function: str, parts: list[Dim]) -> Dim:
        if function == "Integer":
            return parts[0]
        if function in ("FloorDiv", "CleanDiv", "Mod", "PythonMod") and len(parts) == 2:
            return parts[0] // parts[1] if "Div" in function else parts[0] % parts[1]
        found = parts[0]
        for part in parts[1:]:
            if function == "Add":
                found = found + part
            elif function == "Mul":
                found = found * part
            elif function in ("Max", "Min"):
                found = dmax(found, part) if function == "Max" else dmin(found, part)
            elif function == "Pow" and isinstance(part, int) and 0 < part < 9:
                base = found
                for _ in range(part - 1):
                    found = found * base
            else:
                raise UnsupportedError(f"the size {self.text[:80]!r} has a {function}, which no size may have")
        return found


def place_of(node: Mapping[str, Any], file: str) -> Location:
    """Return where a node came from: the Python line of the user's model, and the module that it stands in."""
    metadata = node.get("metadata") or {}
    frames = _FRAME.findall(str(metadata.get("stack_trace", "")))
    own = [f for f in frames if not is_pytorch(f[0])]
    stack = str(metadata.get("nn_module_stack", "")).split(";")[-1].split(",")
    path = stack[1] if len(stack) > 2 and not stack[1].startswith("_empty") else ""
    name = str(node.get("name") or str(node.get("target", "")).split(".")[-2:][0])
    node_name = f"{path}/{name}" if path else name
    if own:
        return Location(own[-1][0], node_name, int(own[-1][1]))
    return Location(file, node_name)
