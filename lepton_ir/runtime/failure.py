"""The errors that compiled code reports: how they are written into it, and how they are read.

The text is meant to be read as it is by those who call the library without Python.
"""

from __future__ import annotations

from lepton_ir.diagnostics import LeptonError

KIND = "LeptonError"
"""The kind of TVM's error object."""
_PLACE = "\n  at "
_LONGEST_PLACE = 400


def compose(message: str, where: str) -> str:
    """Return the text of an error; braces in the place are none of the message's."""
    place = where if len(where) <= _LONGEST_PLACE else f"{where[:_LONGEST_PLACE]} ..."
    return message + _PLACE + place.replace("{}", "{ }")


def read(error: BaseException) -> LeptonError | None:
    """Return what a compiled check has reported, None for any other error."""
    text = str(error).strip()
    if getattr(error, "kind", KIND) != KIND or _PLACE not in text:
        return None
    message, _, where = text.rpartition(_PLACE)
    return LeptonError(
        message.removeprefix(f"{KIND}: "),
        where=where,
        why="the values of the inputs make it so",
        help="give inputs that the model can take",
    )
