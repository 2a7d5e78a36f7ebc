"""The artifact: one file that holds a compiled model and everything needed to run, check and explain it."""

from lepton_ir.artifact.artifact import Artifact, Golden
from lepton_ir.artifact.manifest import FORMAT_VERSION, Condition, Manifest, Spec, TensorSpec, ValueSpec, spec_of

__all__ = [
    "FORMAT_VERSION",
    "Artifact",
    "Condition",
    "Golden",
    "Manifest",
    "Spec",
    "TensorSpec",
    "ValueSpec",
    "spec_of",
]
