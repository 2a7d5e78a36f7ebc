"""The text form of Lepton IR."""

from lepton_ir.text.parser import load_module, parse_module
from lepton_ir.text.printer import print_module, print_operation, save_module

__all__ = ["load_module", "parse_module", "print_module", "print_operation", "save_module"]
