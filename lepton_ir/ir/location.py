"""Where an operation came from in the user's model."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Location:
    """A place in a model or a text file.

    Attributes:
        file: the file's name as the user gave it, or "" when unknown.
        node: the name of the node in the user's model, or "".
        line: 1-based line, 0 when unknown.
        column: 1-based column, 0 when unknown.
        fused: the places that were combined into this one.
    """

    file: str = ""
    node: str = ""
    line: int = 0
    column: int = 0
    fused: tuple[Location, ...] = ()

    @property
    def is_known(self) -> bool:
        return bool(self.file or self.node or self.line or self.fused)

    def leaves(self) -> tuple[Location, ...]:
        """Return the places that are not themselves fused."""
        return self.fused or ((self,) if self.is_known else ())

    def names(self) -> tuple[str, ...]:
        """Return the distinct node names, in order."""
        return tuple(dict.fromkeys(leaf.node for leaf in self.leaves() if leaf.node))

    def __str__(self) -> str:
        if self.fused:
            return "fused[" + ", ".join(map(str, self.fused)) + "]"
        place = ":".join(str(p) for p in (self.file, self.line, self.column) if p)
        return f"{place} ({self.node})" if place and self.node else place or self.node or "unknown"


UNKNOWN = Location()


def fuse_locations(locations: Iterable[Location]) -> Location:
    """Return one location for an operation made from several."""
    leaves = tuple(dict.fromkeys(leaf for loc in locations for leaf in loc.leaves()))
    if not leaves:
        return UNKNOWN
    return leaves[0] if len(leaves) == 1 else Location(fused=leaves)
