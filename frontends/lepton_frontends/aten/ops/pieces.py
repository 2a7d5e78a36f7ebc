"""Views that cut an axis into pieces."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lepton_frontends.aten.builder import AtenBuilder
from lepton_frontends.aten.call import view_op
from lepton_frontends.aten.ops.slices import Part, bounds_of, cut, select, write_select, write_slice
from lepton_frontends.aten.rules import Scalar, aten_op
from lepton_frontends.aten.types import axis_of, dim_of, dims_of, int_of
from lepton_frontends.common.errors import UnsupportedError
from lepton_ir.ir.core import Value
from lepton_ir.ir.dim import Dim, ceildiv, dmin


@aten_op("unbind", "unbind_copy")
def unbind(b: AtenBuilder, self: Value, dim: Any = 0) -> list[Value]:
    axis = axis_of(dim, self.rank)
    count = int_of(self.shape[axis], "number of pieces")
    return [select(b, self, axis, i) for i in range(count)]


@view_op("unbind")
def write_unbind(b: AtenBuilder, whole: Value, new: Value, dim: Any = 0, *, index: int) -> Value:
    return write_select(b, whole, new, dim, index)


def _split_parts(b: AtenBuilder, size: Dim, split_size: Any) -> list[Part]:
    if isinstance(split_size, (list, tuple)):
        return _in_a_row(dims_of(b, split_size))
    step = dim_of(b, split_size)
    count = 1 if size == 0 else ceildiv(size, step)
    if not isinstance(count, int):
        raise UnsupportedError(
            f"an axis of {size} elements is split into pieces of {step}, and how many these are is not known",
            "give the dimension a size",
        )
    return [(step * i, dmin(size, step * (i + 1))) for i in range(count)]


def _in_a_row(sizes: Sequence[Dim]) -> list[Part]:
    parts: list[Part] = []
    start: Dim = 0
    for size in sizes:
        parts.append((start, start + size))
        start = start + size
    return parts


def _chunk_parts(b: AtenBuilder, size: Dim, chunks: Any) -> list[Part]:
    count = int_of(chunks, "number of pieces")
    if isinstance(size, int):
        return [(0, 0)] * count if size == 0 else _split_parts(b, size, -(-size // count))
    step = ceildiv(size, count)
    if step * count != size:
        # PyTorch makes fewer pieces where the last ones would be empty.
        b.dims_require(left=step * (count - 1) + 1, relation="<=", right=size)
    return [(step * i, step * (i + 1) if i < count - 1 else size) for i in range(count)]


def _tensor_split_parts(b: AtenBuilder, size: Dim, given: Any) -> list[Part]:
    if isinstance(given, Value):
        known = b.array(given)
        if known is None and not given.rank:
            raise UnsupportedError("the number of pieces is computed at run time", "make it a constant of the model")
        given = known.tolist() if known is not None else _elements(b, given)
    if not isinstance(given, (list, tuple)):
        count = int_of(given, "number of pieces")
        return _in_a_row([(size + (count - 1 - i)) // count for i in range(count)])
    cuts = [None, *given, None]
    return [bounds_of(b, size, cuts[i], cuts[i + 1]) for i in range(len(cuts) - 1)]


def _elements(b: AtenBuilder, line: Value) -> list[Scalar]:
    count = int_of(line.shape[0], "number of pieces")
    return [Scalar(b.reshaped(cut(b, line, 0, i, i + 1), ())) for i in range(count)]


def _split_call(name: str, rank: int, args: Sequence[Any], kwargs: dict[str, Any]) -> tuple[Any, int]:
    """Return how one of the split operators cuts, and along which axis."""
    if name in ("hsplit", "vsplit", "dsplit"):
        given = args[0] if args else next(iter(kwargs.values()))
        return given, min({"hsplit": 1, "vsplit": 0, "dsplit": 2}[name], rank - 1)
    rest = dict(kwargs)
    dim = rest.pop("dim", args[1] if len(args) > 1 else 0)
    return args[0] if args else next(iter(rest.values())), axis_of(dim, rank)


_CUTS = {
    "split": _split_parts, "split_with_sizes": _split_parts, "unsafe_split": _split_parts,
    "unsafe_split_with_sizes": _split_parts, "chunk": _chunk_parts, "unsafe_chunk": _chunk_parts,
    "tensor_split": _tensor_split_parts, "hsplit": _tensor_split_parts, "vsplit": _tensor_split_parts,
    "dsplit": _tensor_split_parts,
}  # fmt: skip


def _register_splits() -> None:
    for name, parts in _CUTS.items():
        _register_split(name, parts)


def _register_split(name: str, parts: Any) -> None:
    @aten_op(name)
    def split(b: AtenBuilder, self: Value, *args: Any, **kwargs: Any) -> list[Value]:
        given, axis = _split_call(name, self.rank, args, kwargs)
        return [cut(b, self, axis, *part) for part in parts(b, self.shape[axis], given)]

    if name.startswith("unsafe"):
        return

    @view_op(name)
    def write_split(b: AtenBuilder, whole: Value, new: Value, *args: Any, index: int, **kwargs: Any) -> Value:
        given, axis = _split_call(name, whole.rank, args, kwargs)
        start, end = parts(b, whole.shape[axis], given)[index]
        return write_slice(b, whole, new, axis, start, end)


_register_splits()
