"""The pass infrastructure: passes, pipelines as text, the pass manager and its instruments."""

from lepton_ir.passes import combinators
from lepton_ir.passes.base import (
    PASSES,
    PROPERTIES,
    Pass,
    PassContext,
    PatternPass,
    register_pass,
    register_property,
)
from lepton_ir.passes.discovery import load_file, load_passes
from lepton_ir.passes.instrument import DumpPhases, Instrument, PrintAfterChange, Timing
from lepton_ir.passes.manager import PassManager, run_pipeline
from lepton_ir.passes.pipeline import PIPELINES, parse_pipeline, print_pipeline, register_pipeline

__all__ = [
    "PASSES",
    "PIPELINES",
    "PROPERTIES",
    "DumpPhases",
    "Instrument",
    "Pass",
    "PassContext",
    "PassManager",
    "PatternPass",
    "PrintAfterChange",
    "Timing",
    "combinators",
    "load_file",
    "load_passes",
    "parse_pipeline",
    "print_pipeline",
    "register_pass",
    "register_pipeline",
    "register_property",
    "run_pipeline",
]
