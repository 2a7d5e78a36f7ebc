"""Operations that the runtime evaluates on the host, as calls of ``lepton.host``.

Tensors of numbers are passed as they are; strings, sequences and optionals are objects that the program does not look
into.
"""

from __future__ import annotations

from typing import Any

from tvm import relax
from tvm.ir import StringImm

from lepton_backends.tvm.relax_builder import HOST, FunctionBuilder, emits
from lepton_ir.artifact.host_calls import CALL, encode
from lepton_ir.ir import TensorType
from lepton_ir.ir.core import Operation
from lepton_ir.ir.types import Type, is_numeric


@emits(HOST)
def _host_call(b: FunctionBuilder, op: Operation) -> list[Any]:
    sizes = relax.ShapeExpr([b.symbols.variable(name) for name in sorted(op.attribute_symbols)])
    arguments = [StringImm(encode(op)), sizes, *(b.values[v] for v in op.present_operands)]
    single = len(op.results) == 1
    types = [_loose(b, r.type) for r in op.results]
    returned = types[0] if single else relax.TupleType(types)
    result = b.builder.emit(relax.Call(relax.ExternFunc(CALL), arguments, ty_args=[returned]))
    found = [result] if single else b.unpack(result, len(types))
    return [b.named(v, r.type, certain=False) for v, r in zip(found, op.results, strict=True)]


def _loose(b: FunctionBuilder, type_: Type) -> Any:
    """Return the type as far as a call of unknown code may promise it."""
    if not is_numeric(type_):
        return relax.ObjectType()
    assert isinstance(type_, TensorType)
    return relax.TensorType(ndim=type_.rank, dtype=str(b.symbols.type(type_).dtype))
