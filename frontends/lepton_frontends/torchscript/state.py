"""What running code changes: tensors, attributes, lists and dictionaries, written down so that it can be undone.

A branch that only the running program decides is run both ways while the model is imported. Each way starts from the
same state, so what it changes is recorded in a journal and taken back at its end.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from lepton_frontends.aten.call import Tensor
from lepton_frontends.torchscript.unpickle import ScriptObject

MISSING = object()
"""The value of a name that is not bound, or of an attribute that an object has not."""


@dataclass(frozen=True)
class Place:
    """Something that can be written to: a tensor, an attribute, or the contents of a list or dictionary."""

    owner: Any
    name: str = ""

    def __hash__(self) -> int:
        return hash((id(self.owner), self.name))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Place) and self.owner is other.owner and self.name == other.name

    def get(self) -> Any:
        """Return what is there; of a tensor, its inner state."""
        if isinstance(self.owner, Tensor):
            return self.owner.state()
        if isinstance(self.owner, ScriptObject):
            return self.owner.attributes.get(self.name, MISSING)
        return self.owner.copy()

    def set(self, value: Any) -> None:
        """Put back what :meth:`get` returned."""
        if isinstance(self.owner, Tensor):
            self.owner.restore(value)
        elif isinstance(self.owner, ScriptObject):
            if value is MISSING:
                self.owner.attributes.pop(self.name, None)
            else:
                self.owner.attributes[self.name] = value
        elif isinstance(self.owner, list):
            self.owner[:] = value
        else:
            self.owner.clear()
            self.owner.update(value)


@dataclass
class Journal:
    """What was there before, by place, in the order in which it was first written to."""

    before: dict[Place, Any] = field(default_factory=dict)

    def note(self, owner: Any, name: str = "") -> None:
        """Remember what is there now, which is about to change."""
        place = Place(owner, name)
        if place not in self.before:
            self.before[place] = place.get()

    def undo(self) -> None:
        """Put everything back."""
        for place, value in self.before.items():
            place.set(value)


@dataclass
class Unknown:
    """What a name stands for that has no meaning after a branch, such as a tensor on one side only.

    Attributes:
        why: said where somebody reads it.
    """

    why: str
