"""Operators that are refused, with the reason that the user gets."""

from __future__ import annotations

from lepton_frontends.onnx.rules import refuse

_CUT = "cut the model before it and run that part outside"

refuse(
    "NonMaxSuppression",
    "Unique",
    reason="the size of its result depends on the data",
    help="cut the model before it and run that part outside, or use operators of fixed size such as TopK",
)
refuse(
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
    "Bernoulli",
    "Multinomial",
    reason="it draws random numbers, and compiled models give the same result for the same inputs",
    help="make the random tensor an input of the model",
)
refuse("TfIdfVectorizer", reason="it works on strings", help=_CUT)
