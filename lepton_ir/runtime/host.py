"""Whether this machine can run an artifact; asked before any of its code is loaded."""

from __future__ import annotations

import platform
from importlib import metadata

from lepton_ir.artifact import Artifact, Manifest
from lepton_ir.diagnostics import LeptonError
from lepton_ir.target import cpu_features

_SAME_MACHINE = {"amd64": "x86_64", "arm64": "aarch64"}
_ALIASES = {"asimd": "neon", "pni": "sse3", "abm": "lzcnt"}
"""What /proc/cpuinfo calls a feature, to the name that targets use."""


def check_host(artifact: Artifact, features: frozenset[str] | None = None) -> None:
    """Raise unless the artifact fits this machine.

    Args:
        artifact: what is to be run.
        features: the instruction sets of the machine, detected by default.

    Raises:
        LeptonError: another processor architecture, a missing instruction set or an incompatible TVM; all of what
            does not fit is named.
    """
    problems = misfits(artifact.manifest, features)
    if problems:
        raise LeptonError(
            "the artifact does not fit this machine",
            where=str(artifact.path or artifact.manifest.name),
            why=problems[0],
            notes=problems[1:],
            help="compile the model for this machine: leptonc compile MODEL --target cpu -o FILE",
        )


def misfits(manifest: Manifest, features: frozenset[str] | None = None) -> list[str]:
    """Return why an artifact with this manifest does not run on a machine with these ``features`` (here by default)."""
    features = cpu_features() if features is None else features
    problems: list[str] = []
    if _machine(manifest.machine) != _machine(platform.machine()):
        problems.append(f"its code is for {manifest.machine} processors, this machine is {platform.machine()}")
    # An empty set means that this system does not say what its processor can do; then only running it can tell.
    known = features | {_ALIASES[f] for f in features if f in _ALIASES}
    missing = sorted(manifest.features - known) if features else []
    if missing:
        problems.append(f"its code uses {', '.join(missing)}, which this processor lacks")
    compiled_with, installed = manifest.versions.get("tvm", ""), _installed_tvm()
    if installed and compiled_with and _minor(compiled_with) != _minor(installed):
        problems.append(f"it was compiled with TVM {compiled_with}, and here is TVM {installed}")
    return problems


def _machine(name: str) -> str:
    return _SAME_MACHINE.get(name.lower(), name.lower())


def _minor(version: str) -> tuple[str, ...]:
    return tuple(version.split(".")[:2])


def _installed_tvm() -> str:
    try:
        return metadata.version("apache-tvm")
    except metadata.PackageNotFoundError:
        return ""
