"""The reference interpreter: what a module means, in numpy."""

from lepton_ir.interp.interpreter import Interpreter, run
from lepton_ir.interp.structure import rule

__all__ = ["Interpreter", "rule", "run"]
