"""Operators that are refused, with the reason that the user gets."""

from __future__ import annotations

from lepton_frontends.onnx.rules import refuse

_CUT = "cut the model before it and run that part outside"

refuse(
    "StringConcat",
    "StringNormalizer",
    "StringSplit",
    "RegexFullMatch",
    reason="it works on strings",
    help=_CUT,
)
refuse(
    "SequenceMap",
    reason="it works on sequences whose lengths are known only at run time",
    help="use tensors: Split and Concat instead of sequences",
)
refuse("ImageDecoder", reason="it decodes image files", help="decode images before they are given to the model")
