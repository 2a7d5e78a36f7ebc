"""Scan as it was in opset 8: for each sequence of a batch by itself."""

from __future__ import annotations

from collections.abc import Sequence

from onnx import GraphProto

from lepton_frontends.common.errors import UnsupportedError
from lepton_frontends.onnx.builder import OnnxBuilder
from lepton_frontends.onnx.ops.loop import scan
from lepton_frontends.onnx.rules import onnx_op
from lepton_ir.ir.core import Value


@onnx_op("Scan", since=8)
def scan_batched(
    b: OnnxBuilder,
    sequence_lens: Value | None = None,
    *inputs: Value,
    body: GraphProto,
    num_scan_inputs: int,
    directions: Sequence[int] | None = None,
) -> list[Value]:
    """The axes 0 of all inputs are the batch, the axes 1 of those scanned are their sequences."""
    states = len(inputs) - num_scan_inputs
    if states < 0 or not inputs:
        raise UnsupportedError(f"it has {len(inputs)} inputs to scan, not {num_scan_inputs}")
    batch, longest = inputs[0].shape[0], inputs[states].shape[1]
    if not isinstance(batch, int) or not isinstance(longest, int):
        raise UnsupportedError(
            f"it scans a batch of {batch} sequences of {longest} elements", 'give them sizes, with dims={"name": size}'
        )
    lengths = [longest] * batch if sequence_lens is None else b.ints(sequence_lens, "lengths of the sequences")
    if len(lengths) != batch or any(not 0 < n <= longest for n in lengths):
        raise UnsupportedError(f"its sequences of {list(lengths)} elements do not fit into [{batch}, {longest}]")
    rows = []
    for i, length in enumerate(lengths):
        own = [_part(b, x, i, length if n >= states else None) for n, x in enumerate(inputs)]
        results = scan(b, *own, body=body, num_scan_inputs=num_scan_inputs, scan_input_directions=directions)
        rows.append([*results[:states], *(_filled(b, v, longest) for v in results[states:])])
    return [_stacked(b, [row[k] for row in rows]) for k in range(len(rows[0]))]


def _part(b: OnnxBuilder, x: Value, index: int, length: int | None) -> Value:
    """Return one element of the batch, as far as its sequence goes."""
    row = b.reshaped(b.tensor_slice(x, starts=(index,), ends=(index + 1,), axes=(0,), steps=(1,)), x.shape[1:])
    if length is None or length == row.shape[0]:
        return row
    return b.tensor_slice(row, starts=(0,), ends=(length,), axes=(0,), steps=(1,))


def _filled(b: OnnxBuilder, x: Value, length: int) -> Value:
    """Return x with zeros after its sequence up to the longest one's length."""
    missing = length - x.shape[0]
    return x if missing == 0 else b.tensor_pad(x, pads=[0] * x.rank + [missing] + [0] * (x.rank - 1))


def _stacked(b: OnnxBuilder, values: Sequence[Value]) -> Value:
    rows = [b.reshaped(v, (1, *v.shape)) for v in values]
    return rows[0] if len(rows) == 1 else b.tensor_concat(rows, axis=0)
