"""What may share a kernel with what."""

from __future__ import annotations

import enum
from math import prod

from lepton_ir.ir import FusionKind, Operation, TensorType, Value
from lepton_ir.ir.core import Operation as CoreOperation
from lepton_ir.ir.dim import Dim
from lepton_passes.layout import nominal_bytes


class Prologue(enum.IntEnum):
    """What an anchor lets be computed while it reads an operand."""

    NOTHING = 0
    INDEX = 1
    CHEAP = 2
    ANY = 3


INDEX_MAPS = frozenset(
    {"tensor.reshape", "tensor.transpose", "tensor.slice", "tensor.expand", "tensor.reverse", "tensor.full"}
)
"""Operators whose result's elements lie somewhere in an operand, by arithmetic on the index alone."""

GENERATORS = frozenset({"tensor.iota", "tensor.dims", "tensor.full"})
"""Operators that make elements from nothing; computing them again costs less than storing them."""

CHEAP = INDEX_MAPS | frozenset(
    "add sub mul neg abs not relu clip cast minimum maximum and or where eq ne lt le gt ge quant.dequantize".split()  # noqa: SIM905
)
"""Operators that cost about as much as reading their operand again."""

_CROWD = 8
_READS_ONCE = frozenset({"tensor.concat", "tensor.pad"})
BIJECTIVE = frozenset({"tensor.reshape", "tensor.transpose"})

_PROLOGUES: dict[str, tuple[Prologue, ...]] = {
    "linalg.matmul": (Prologue.CHEAP, Prologue.CHEAP),
    "linalg.matmul_packed": (Prologue.CHEAP,),
    "nn.attention": (Prologue.INDEX, Prologue.INDEX, Prologue.INDEX, Prologue.CHEAP),
    "nn.avg_pool": (Prologue.CHEAP,),
    "nn.conv_packed": (Prologue.CHEAP,),
    "nn.layer_norm": (Prologue.CHEAP,),
    "nn.max_pool": (Prologue.CHEAP,),
    "nn.rms_norm": (Prologue.CHEAP,),
    "nn.softmax": (Prologue.CHEAP,),
}
"""By operand; the operands left out take nothing. Reductions read every element once and take anything."""

_FEW_CHANNELS = 4
"""Up to so many channels, a convolution reads its lines channel by channel, from either layout."""


def prologue_of(anchor: CoreOperation, operand: int) -> Prologue:
    """Return what ``anchor`` lets be computed while it reads the operand."""
    if kind_of(anchor) is FusionKind.REDUCTION:
        return Prologue.ANY
    if anchor.name == "nn.conv_packed" and anchor.attributes["panel"] == 0:
        # A depthwise convolution reads an element once for every tap.
        return Prologue.NOTHING
    allowed = _PROLOGUES.get(anchor.name, ())
    return allowed[operand] if operand < len(allowed) else Prologue.NOTHING


def reads_planes(anchor: CoreOperation, op: CoreOperation) -> bool:
    """Whether ``op`` transposes an image of few channels to channels-last for a convolution."""
    if op.name != "tensor.transpose" or anchor.name != "nn.conv_packed" or prod(anchor.attributes["kernel_shape"]) == 1:
        return False
    channels = op.results[0].shape[-1]
    return isinstance(channels, int) and channels <= _FEW_CHANNELS


def admits(level: Prologue, op: CoreOperation) -> bool:
    """Whether a prologue of this level may hold ``op``."""
    if level is Prologue.ANY:
        return kind_of(op) <= FusionKind.INJECTIVE
    if op.name == "tensor.transpose" and op.attributes["perm"][-1] != op.results[0].rank - 1:
        # Reading along another axis than the innermost costs more than transposing.
        return False
    return op.name in (INDEX_MAPS if level is Prologue.INDEX else CHEAP if level is Prologue.CHEAP else ())


def kind_of(op: CoreOperation) -> FusionKind:
    """Return how ``op`` may be fused; operations on anything but plain tensors may not."""
    if not isinstance(op, Operation) or op.regions or op.is_terminator or op.has_side_effects:
        return FusionKind.OPAQUE
    if not all(isinstance(v.type, TensorType) for v in (*op.present_operands, *op.results)):
        return FusionKind.OPAQUE
    if op.fusion <= FusionKind.INJECTIVE and len(op.results) != 1:
        return FusionKind.OPAQUE
    return op.fusion


def is_elementwise(op: CoreOperation) -> bool:
    """Whether each element of the result comes from the operands' elements at its place."""
    return kind_of(op) <= FusionKind.BROADCAST


def crowds(op: CoreOperation, user: CoreOperation) -> bool:
    """Whether ``user`` has so many operands, each with loops of its own, that all but the cheapest stay outside.

    They often are copies of each other, which share a kernel where they stand alone.
    """
    return user.name == "tensor.concat" and len(user.operands) > _CROWD and op.name not in CHEAP | GENERATORS


def recomputes(op: CoreOperation, user: CoreOperation) -> bool:
    """Whether computing ``op`` inside ``user`` would do real work more often than once per element."""
    if op.name in CHEAP or op.name in GENERATORS or user.name in _READS_ONCE:
        return False
    return _bytes(user.results[0]) > 2 * _bytes(op.results[0])


def _bytes(value: Value) -> int:
    return nominal_bytes(value.tensor) // max(1, value.tensor.dtype.bits // 8)


def same_size(a: Value, b: Value) -> bool:
    """Whether two tensors have the same shape."""
    return tuple(a.shape) == tuple(b.shape)


def is_scalar_constant(value: Value, limit: int = 1) -> bool:
    """Whether the value is a constant so small that kernels hold it in their code."""
    op = value.op
    return op is not None and op.name == "const" and _count(value.shape) <= limit


def _count(shape: tuple[Dim, ...]) -> int:
    return prod(d if isinstance(d, int) else 1 << 30 for d in shape)
