"""What the parts of one import share, whatever the format."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from lepton_frontends.common.errors import TooLargeError
from lepton_ir.diagnostics import Diagnostic, DiagnosticSink
from lepton_ir.ir.core import Block, Value
from lepton_ir.ir.core import Operation as CoreOperation
from lepton_ir.ir.location import Location
from lepton_ir.ir.opdef import Operation
from lepton_ir.limits import MOST_NODES


@dataclass
class ImportState:
    """One import.

    Attributes:
        file: the file to name in locations.
        memory: the bytes that one tensor may have.
        budget: how many nodes there may still be, those that come out of functions and unrolled loops included.
        findings: what could not be imported.
        shape_values: the contents of shape tensors, as far as they are known.
        symbols: the names of dimensions that are taken.
    """

    file: str
    memory: int = field(kw_only=True)
    budget: int = field(default=MOST_NODES, kw_only=True)
    findings: DiagnosticSink = field(default_factory=DiagnosticSink, kw_only=True)
    shape_values: dict[Value, np.ndarray | None] = field(default_factory=dict, kw_only=True)
    symbols: set[str] = field(default_factory=set, kw_only=True)

    def fresh_name(self) -> str:
        """Return a name for a dimension that no other has."""
        number = len(self.symbols)
        while f"r{number}" in self.symbols:
            number += 1
        self.symbols.add(f"r{number}")
        return f"r{number}"

    def spend(self, nodes: int, where: Location) -> None:
        """Count the nodes of a graph, each time that it is imported.

        Raises:
            TooLargeError: there are more than the budget allows.
        """
        self.budget -= nodes
        if self.budget < 0:
            raise TooLargeError(
                "the model expands into too many nodes",
                where if where.is_known else self.file,
                "its graph, and what its functions and loops expand into, have more nodes than the limit",
                "raise the limit with --max-nodes (in Python: expansion_budget=, or Limits(nodes=...))",
            )

    def report(self, where: Location, message: str, why: str, help: str = "") -> None:
        """Collect a finding."""
        self.findings.add(Diagnostic(message, where, why, help))


def erase_unused(block: Block) -> None:
    """Erase operations that nobody reads: what was read into attributes, and weights without a use."""
    op: CoreOperation | None = block.last
    while op is not None:
        before = op.prev_op
        needed = isinstance(op, Operation) and op.has_side_effects
        if op.results and not needed and not any(r.is_used for r in op.results):
            op.erase()
        else:
            for region in op.regions:
                erase_unused(region.block)
        op = before
