"""What is checked of a whole ModelProto before its graph is looked at: names, and where its tensors' data lies."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from google.protobuf.message import Message  # type: ignore[import-untyped]
from onnx import ModelProto, NodeProto, TensorProto

from lepton_frontends.onnx.tensors import TensorReader
from lepton_frontends.onnx.wire import SELF
from lepton_ir.diagnostics import Diagnostic, LeptonError
from lepton_ir.ir.location import Location

LONGEST_NAME = 4096
_MOST_FINDINGS = 100
_UNREAD = frozenset(
    {
        "doc_string", "producer_name", "producer_version", "metadata_props", "value_info", "quantization_annotation",
        "training_info", "configuration", "device_configurations", "denotation",
    }
)  # fmt: skip


def check_model(model: ModelProto, reader: TensorReader) -> list[Diagnostic]:
    """Return what is wrong with the names of a model, and with the references of its tensors to files.

    Parts of the model that are not used are looked at too: another reader of the file might use them.
    """
    return list(islice(_findings(model, "", reader), _MOST_FINDINGS))


def _findings(message: Any, place: str, reader: TensorReader) -> Iterator[Diagnostic]:
    # Recursion goes as deep as messages are nested, which protobuf limits to 100.
    if isinstance(message, NodeProto):
        place = _shown(message.name) or _shown(message.op_type)
    elif isinstance(message, TensorProto):
        place = _shown(message.name) or place
        try:
            reader.check_reference(message)
        except LeptonError as error:
            yield from error.diagnostics
    for descriptor, value in message.ListFields():
        if descriptor.name in _UNREAD or descriptor.cpp_type not in (
            descriptor.CPPTYPE_STRING,
            descriptor.CPPTYPE_MESSAGE,
        ):
            continue
        several = not isinstance(value, (str, bytes, Message))
        for item in value if several else (value,):
            if isinstance(item, Message):
                yield from _findings(item, place, reader)
            elif descriptor.type == descriptor.TYPE_STRING and item != SELF:
                problem = _name_problem(item)
                if problem:
                    where = Location(reader.file, place)
                    yield Diagnostic(
                        f"the {descriptor.name.replace('_', ' ')} {_shown(item)!r} {problem}",
                        where,
                        help="the model is not valid ONNX; export it again",
                    )


def _shown(text: Any) -> str:
    words = text if isinstance(text, str) else repr(bytes(text[:60]))
    return words if len(words) <= 60 else f"{words[:60]}..."


def _name_problem(text: Any) -> str:
    if not isinstance(text, str):
        return "is not text in UTF-8"
    if len(text) > LONGEST_NAME:
        return f"is {len(text)} characters long; names may have {LONGEST_NAME}"
    # The C0 and C1 control characters and DEL.
    control = not text.isprintable() and any(c < " " or "\x7f" <= c < "\xa0" for c in text)
    return "has control characters in it" if control else ""
