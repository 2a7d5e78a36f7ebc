"""Operators of ai.onnx.ml that prepare features."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from onnx import TensorProto

from lepton_frontends.common.errors import UnsupportedError
from lepton_frontends.onnx.builder import OnnxBuilder
from lepton_frontends.onnx.ops.strings import string_ids
from lepton_frontends.onnx.rules import ML, onnx_op
from lepton_frontends.onnx.scores import constant, features_of, rows_of
from lepton_ir.ir.core import Value
from lepton_ir.ir.dim import product
from lepton_ir.ir.types import DType

_INVALID = "the model is not valid ONNX"


def _wide(b: OnnxBuilder, x: Value) -> Value:
    return b.cast_to(x, DType.F64 if x.tensor.dtype is DType.F64 else DType.F32)


@onnx_op("Scaler", since=1, domain=ML)
def scaler(b: OnnxBuilder, x: Value, *, offset: Sequence[float] = (), scale: Sequence[float] = ()) -> Value:
    y = _wide(b, x)
    if offset:
        y = b.sub(y, constant(b, offset, y))
    return b.cast_to(b.mul(y, constant(b, scale, y)) if scale else y, DType.F32)


@onnx_op("Normalizer", since=1, domain=ML)
def normalizer(b: OnnxBuilder, x: Value, *, norm: str = "MAX") -> Value:
    """Each row divided by its norm; where that is 0, the row stays."""
    if norm not in ("MAX", "L1", "L2"):
        raise UnsupportedError(f"the norm {norm} is not known", _INVALID)
    y = _wide(b, x)
    reduce = {"MAX": b.reduce_max, "L1": b.reduce_l1, "L2": b.reduce_l2}[norm]
    size = reduce(y, axes=(y.rank - 1,), keepdims=True)
    size = b.where(b.eq(size, b.like(size, 0)), b.like(size, 1), size)
    return b.cast_to(b.div(y, size), DType.F32)


@onnx_op("Imputer", since=1, domain=ML)
def imputer(
    b: OnnxBuilder,
    x: Value,
    *,
    imputed_value_floats: Sequence[float] = (),
    imputed_value_int64s: Sequence[int] = (),
    replaced_value_float: float = 0.0,
    replaced_value_int64: int = 0,
) -> Value:
    values: Sequence[float] = imputed_value_floats if x.tensor.dtype.is_float else imputed_value_int64s
    replaced = replaced_value_float if x.tensor.dtype.is_float else replaced_value_int64
    if not values:
        raise UnsupportedError(
            f"it has no values to put into a tensor of {x.tensor.dtype}", "the model is not valid ONNX"
        )
    if len(values) not in (1, x.shape[-1]):
        raise UnsupportedError(f"it has {len(values)} values for {x.shape[-1]} features", _INVALID)
    hit = b.isnan(x) if replaced != replaced else b.eq(x, b.like(x, replaced))
    return b.where(hit, constant(b, values, x), x)


@onnx_op("Binarizer", since=1, domain=ML)
def binarizer(b: OnnxBuilder, x: Value, *, threshold: float = 0.0) -> Value:
    limit = b.const(np.float32(threshold)) if not x.tensor.dtype.is_float else b.like(x, threshold)
    return b.cast(b.gt(b.cast_to(x, limit.tensor.dtype), limit), to=x.tensor.dtype)


@onnx_op("OneHotEncoder", since=1, domain=ML)
def one_hot_encoder(
    b: OnnxBuilder,
    x: Value,
    *,
    cats_int64s: Sequence[int] = (),
    cats_strings: Sequence[str] = (),
    zeros: int = 1,
) -> Value:
    if cats_strings:
        x, cats_int64s = string_ids(b, x, cats_strings)
    numbers = b.reshaped(b.cast_to(x, DType.I64), (*x.shape, 1))
    hit = b.eq(numbers, b.const(np.asarray(cats_int64s, np.int64)))
    if not zeros:
        known = b.reduce_any(hit, axes=(x.rank,), keepdims=False)
        everything = b.reduce_all(b.reshaped(known, (x.tensor.size,)), axes=(0,), keepdims=False)
        b.control_require(everything, message="a category is none of those that OneHotEncoder knows")
    return b.cast(hit, to=DType.F32)


@onnx_op("FeatureVectorizer", since=1, domain=ML)
def feature_vectorizer(b: OnnxBuilder, *xs: Value, inputdimensions: Sequence[int] = ()) -> Value:
    """The inputs side by side, each with as many columns as the attribute says: cut, or with zeros after it."""
    if len(inputdimensions) != len(xs):
        raise UnsupportedError(
            f"it has {len(xs)} inputs and {len(inputdimensions)} sizes", "the model is not valid ONNX"
        )
    columns = []
    for x, size in zip(xs, inputdimensions, strict=True):
        rows = rows_of(b, x)
        width = features_of(rows, 0)
        if size < width:
            rows = b.tensor_slice(rows, starts=(0,), ends=(size,), axes=(1,), steps=(1,))
        elif size > width:
            rows = b.tensor_pad(rows, None, pads=(0, 0, 0, size - width))
        columns.append(rows)
    return b.tensor_concat(columns, axis=1)


@onnx_op("ArrayFeatureExtractor", since=1, domain=ML)
def array_feature_extractor(b: OnnxBuilder, x: Value, indices: Value) -> Value:
    """Columns of the last axis; of a vector, as a matrix of one row."""
    flat = b.reshaped(indices, (product(indices.shape),))
    picked = b.tensor_gather(x, flat, axis=x.rank - 1)
    return b.reshaped(picked, (1, flat.shape[0])) if x.rank == 1 else picked


@onnx_op("LabelEncoder", since=2, domain=ML)
def label_encoder(
    b: OnnxBuilder,
    x: Value,
    *,
    default_float: float = -0.0,
    default_int64: int = -1,
    default_string: str = "_Unused",
    default_tensor: TensorProto | None = None,
    keys_floats: Sequence[float] = (),
    keys_int64s: Sequence[int] = (),
    keys_strings: Sequence[str] = (),
    keys_tensor: TensorProto | None = None,
    values_floats: Sequence[float] = (),
    values_int64s: Sequence[int] = (),
    values_strings: Sequence[str] = (),
    values_tensor: TensorProto | None = None,
) -> Value:
    keys = _entries(b, keys_tensor, keys_int64s, keys_floats, keys_strings)
    values = _entries(b, values_tensor, values_int64s, values_floats, values_strings)
    if keys.size != values.size or not keys.size:
        raise UnsupportedError(f"it has {keys.size} keys and {values.size} values", _INVALID)
    defaults = {"f": default_float, "O": default_string}
    other = np.asarray(defaults.get(values.dtype.kind, default_int64), values.dtype)
    if default_tensor is not None:
        other = b.importer.reader.read(default_tensor).array.reshape(())
    kept = _distinct(keys, last=b.opset >= 4)
    return _mapped(b, x, keys[kept], values[kept], other)


@onnx_op("CategoryMapper", since=1, domain=ML)
def category_mapper(
    b: OnnxBuilder,
    x: Value,
    *,
    cats_int64s: Sequence[int] = (),
    cats_strings: Sequence[str] = (),
    default_int64: int = -1,
    default_string: str = "_Unused",
) -> Value:
    if len(cats_int64s) != len(cats_strings) or not cats_strings:
        raise UnsupportedError(f"it has {len(cats_int64s)} numbers for {len(cats_strings)} strings", _INVALID)
    numbers, texts = np.asarray(cats_int64s, np.int64), np.asarray(cats_strings, object)
    if x.tensor.dtype is DType.STR:
        return _mapped(b, x, texts, numbers, np.asarray(default_int64, np.int64))
    return _mapped(b, x, numbers, texts, np.asarray(default_string, object))


def _distinct(keys: np.ndarray, last: bool) -> np.ndarray:
    """Return where the keys stand that count: of equal ones the last, before opset 4 (as ONNX Runtime) the first."""
    ordered = keys[::-1] if last else keys
    _, first = np.unique(ordered, return_index=True)
    return len(keys) - 1 - first if last else first


def _entries(
    b: OnnxBuilder, tensor: TensorProto | None, ints: Sequence[int], floats: Sequence[float], texts: Sequence[str]
) -> np.ndarray:
    """Return keys or values, which one of four attributes holds."""
    if tensor is not None:
        return b.importer.reader.read(tensor).array.reshape(-1)
    if texts:
        return np.asarray(texts, object)
    return np.asarray(ints, np.int64) if ints else np.asarray(floats, np.float32)


def _mapped(b: OnnxBuilder, x: Value, keys: np.ndarray, values: np.ndarray, other: np.ndarray) -> Value:
    """Return the value at each element's key, ``other`` where there is none."""
    if keys.dtype.kind == "O":
        x, numbers = string_ids(b, x, keys.tolist())
        keys = np.array(numbers, np.int64)
    wanted = b.reshaped(x, (*x.shape, 1))
    hit = b.eq(wanted, b.const(keys.astype(x.tensor.dtype.numpy)))
    if b.opset >= 4 and keys.dtype.kind == "f" and np.isnan(keys).any():
        # Before opset 4 nothing was said of NaN, which equals no key.
        hit = b.or_(hit, b.and_(b.isnan(wanted), b.const(np.isnan(keys))))
    number = b.const(np.arange(len(keys), dtype=np.int64))
    place = b.reduce_max(b.where(hit, number, b.like(number, -1)), axes=(x.rank,), keepdims=False)
    found = b.tensor_gather(b.const(values), b.maximum(place, b.like(place, 0)), axis=0)
    return b.where(b.lt(place, b.like(place, 0)), b.const(other), found)
