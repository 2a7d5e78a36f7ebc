"""How code that is run while the model is imported leaves a statement."""

from __future__ import annotations

from typing import Any

from lepton_ir.ir.location import Location


class ModelRaisesError(Exception):
    """The model's own code raises an error.

    Attributes:
        message: its text.
        where: the place in the model, set as it is raised.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message
        self.where: Location | None = None


class ReturnedError(Exception):
    """A function returns.

    Attributes:
        value: what.
    """

    def __init__(self, value: Any) -> None:
        super().__init__()
        self.value = value


class JumpedError(Exception):
    """A loop is left, or goes on.

    Attributes:
        kind: "break" or "continue".
    """

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind


class Failed:
    """What a call gives that could not be lowered; what depends on it is passed over in silence."""


FAILED = Failed()


def has_failed(value: Any) -> bool:
    """Return whether a value, or one inside of it, is missing since its operator is not supported."""
    if isinstance(value, (list, tuple)):
        return any(map(has_failed, value))
    return value is FAILED
