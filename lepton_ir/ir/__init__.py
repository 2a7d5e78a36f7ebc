"""The data structures of Lepton IR."""

from lepton_ir.ir.builder import Builder
from lepton_ir.ir.constant import Constant
from lepton_ir.ir.core import Block, BlockArgument, OpResult, Region, Value
from lepton_ir.ir.dim import Dim, Expr, sym
from lepton_ir.ir.location import UNKNOWN, Location, fuse_locations
from lepton_ir.ir.module import Function, Module
from lepton_ir.ir.opdef import REGISTRY, FusionKind, InferenceError, Operation
from lepton_ir.ir.types import DType, OptionalType, SequenceType, TensorType, Type, broadcast_shapes, tensor

__all__ = [
    "REGISTRY",
    "UNKNOWN",
    "Block",
    "BlockArgument",
    "Builder",
    "Constant",
    "DType",
    "Dim",
    "Expr",
    "Function",
    "FusionKind",
    "InferenceError",
    "Location",
    "Module",
    "OpResult",
    "Operation",
    "OptionalType",
    "Region",
    "SequenceType",
    "TensorType",
    "Type",
    "Value",
    "broadcast_shapes",
    "fuse_locations",
    "sym",
    "tensor",
]
