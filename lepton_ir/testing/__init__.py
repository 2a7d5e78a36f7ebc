"""Testing IR text: ``.lir`` files whose comments say what to run and what to expect.

    // RUN: leptonc opt %s --pipeline=canonicalize | filecheck %s
    // CHECK: return %x

Installing Lepton installs a pytest plugin that collects them.
"""

from lepton_ir.testing.runner import RunError, run_file

__all__ = ["RunError", "run_file"]
