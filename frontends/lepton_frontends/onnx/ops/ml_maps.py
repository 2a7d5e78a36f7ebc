"""Operators of ai.onnx.ml that make maps, and tensors of maps."""

from __future__ import annotations

from collections.abc import Sequence

from lepton_frontends.common.errors import UnsupportedError
from lepton_frontends.common.runtime_dims import fresh_dims
from lepton_frontends.onnx.builder import OnnxBuilder
from lepton_frontends.onnx.rules import ML, onnx_op
from lepton_frontends.onnx.scores import labels_of
from lepton_ir.ir.core import Value
from lepton_ir.ir.types import DType, MapType, TensorType
from lepton_ir.ops.maps import Values

_INVALID = "the model is not valid ONNX"
_CASTS = {"TO_FLOAT": DType.F32, "TO_STRING": DType.STR, "TO_INT64": DType.I64}


@onnx_op("ZipMap", since=1, domain=ML)
def zip_map(
    b: OnnxBuilder, x: Value, *, classlabels_int64s: Sequence[int] = (), classlabels_strings: Sequence[str] = ()
) -> Value:
    """A vector is one row."""
    if x.rank not in (1, 2):
        raise UnsupportedError(f"its input {x.type} is no matrix", _INVALID)
    rows = b.reshaped(x, (1, x.shape[0])) if x.rank == 1 else x
    return b.map_zip(rows, b.const(labels_of(classlabels_int64s, classlabels_strings)))


@onnx_op("DictVectorizer", since=1, domain=ML, takes_lists=True)
def dict_vectorizer(
    b: OnnxBuilder, x: Value, *, int64_vocabulary: Sequence[int] = (), string_vocabulary: Sequence[str] = ()
) -> Value:
    kind = _map_type(x)
    keys = b.const(labels_of(int64_vocabulary, string_vocabulary))
    if keys.tensor.dtype is not kind.key:
        raise UnsupportedError(f"its vocabulary is of {keys.tensor.dtype}, its input {kind}", _INVALID)
    return b.map_vectorize(x, keys, dtype=kind.value)


@onnx_op("CastMap", since=1, domain=ML, takes_lists=True)
def cast_map(
    b: OnnxBuilder, x: Value, *, cast_to: str = "TO_FLOAT", map_form: str = "DENSE", max_map: int = 1
) -> Value:
    kind = _map_type(x)
    if cast_to not in _CASTS or map_form not in ("DENSE", "SPARSE") or kind.key is not DType.I64:
        raise UnsupportedError(f"it casts {kind} {cast_to}, {map_form}", _INVALID)
    if map_form == "SPARSE":
        keys = b.tensor_iota(shape=(max_map,), axis=0, dtype=DType.I64)
        return b.cast_to(b.map_vectorize(x, keys, dtype=kind.value, strict=True), _CASTS[cast_to])
    found = TensorType((1, *fresh_dims(b, 1)), kind.value)
    return b.cast_to(b.create(Values, x, dtype=kind.value, result_types=[found]).y, _CASTS[cast_to])


def _map_type(x: Value) -> MapType:
    kind = getattr(x, "type", None)
    if not isinstance(kind, MapType):
        raise UnsupportedError("its input is no map", _INVALID)
    return kind
