"""Operators on strings, and the decoder of images."""

from __future__ import annotations

from collections.abc import Sequence

from lepton_frontends.common.errors import UnsupportedError
from lepton_frontends.common.runtime_dims import fresh_dims
from lepton_frontends.onnx.builder import OnnxBuilder
from lepton_frontends.onnx.rules import onnx_op
from lepton_ir.ir.core import Value
from lepton_ir.ir.types import DType, TensorType
from lepton_ir.ops.image import CHANNELS, Decode
from lepton_ir.ops.re2 import RegexError, compiled
from lepton_ir.ops.strings import Normalize, Split


@onnx_op("StringConcat", since=20)
def string_concat(b: OnnxBuilder, x: Value, y: Value) -> Value:
    return b.str_concat(x, y)


@onnx_op("StringSplit", since=20)
def string_split(b: OnnxBuilder, x: Value, *, delimiter: str = "", maxsplit: int | None = None) -> tuple[Value, Value]:
    types = [x.tensor.with_shape([*x.shape, *fresh_dims(b, 1)]), x.tensor.with_dtype(DType.I64)]
    op = b.create(Split, x, delimiter=delimiter, max_splits=maxsplit, result_types=types)
    return op.pieces, op.counts


@onnx_op("StringNormalizer", since=10)
def string_normalizer(
    b: OnnxBuilder,
    x: Value,
    *,
    case_change_action: str = "NONE",
    is_case_sensitive: int = 0,
    locale: str = "",
    stopwords: Sequence[str] = (),
) -> Value:
    """Case is changed as Unicode defines it for no locale in particular."""
    if x.rank not in (1, 2):
        raise UnsupportedError(f"its input is {x.type}", "the model is not valid ONNX")
    kind = x.tensor.with_shape([*([1] * (x.rank - 1)), *fresh_dims(b, 1)])
    return b.create(
        Normalize,
        x,
        case=case_change_action.lower(),
        stop_words=tuple(stopwords),
        case_sensitive=bool(is_case_sensitive),
        result_types=[kind],
    ).y


@onnx_op("RegexFullMatch", since=20)
def regex_full_match(b: OnnxBuilder, x: Value, *, pattern: str) -> Value:
    try:
        compiled(pattern)
    except RegexError as error:
        raise UnsupportedError(
            str(error), "write the pattern without what only RE2, or only Python's re, understands"
        ) from None
    return b.str_regex_full_match(x, pattern=pattern)


def string_ids(b: OnnxBuilder, x: Value, terms: Sequence[str]) -> tuple[Value, tuple[int, ...]]:
    """Return the strings of x and the terms as numbers that are equal where the strings are; -1 is no term."""
    known = {term: i for i, term in enumerate(dict.fromkeys(terms))}
    return b.str_find(x, terms=tuple(known)), tuple(known[term] for term in terms)


@onnx_op("ImageDecoder", since=20)
def image_decoder(b: OnnxBuilder, data: Value, *, pixel_format: str = "RGB") -> Value:
    if pixel_format not in CHANNELS:
        raise UnsupportedError(f'its pixel_format is "{pixel_format}"', "the model is not valid ONNX")
    kind = TensorType((*fresh_dims(b, 2), CHANNELS[pixel_format]), DType.U8)
    return b.create(Decode, data, pixel_format=pixel_format, result_types=[kind]).y
