"""The text form of Lepton IR."""

from lepton_ir.text.printer import print_module, print_operation, save_module

__all__ = ["print_module", "print_operation", "save_module"]
