"""How much a model may ask of the machine that compiles it.

A few bytes of a file can ask for more memory or time than any machine has. What a model needs is therefore held
against these limits before it is allocated or begun.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import cache
from math import prod
from pathlib import Path

from lepton_ir.ir.types import DType, TensorType

MOST_NODES = 100_000
MOST_SECONDS = 15.0
HIGHEST_RANK = 32
"""numpy 1 and ONNX Runtime go no higher either."""
_INT64_MAX = (1 << 63) - 1
_POINTER_BITS = 64
_CGROUP_FILES = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


@cache
def available_memory() -> int:
    """Return how many bytes this process may use: of its own limit, its cgroup's and the machine's, the least."""
    found = [_physical()]
    for path in _CGROUP_FILES:
        try:
            text = Path(path).read_text(encoding="ascii").strip()
        except OSError:
            continue
        found += [int(text)] if text.isdigit() else []
    try:
        import resource
    except ImportError:
        return min(found)
    own = resource.getrlimit(resource.RLIMIT_AS)[0]
    return min(found if own == resource.RLIM_INFINITY else [*found, own])


def _physical() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 16 << 30


def default_memory() -> int:
    """Return the default memory budget: half of what the process may use."""
    return available_memory() // 2


@dataclass(frozen=True)
class Limits:
    """What compiling one model may cost.

    Attributes:
        memory: bytes that any one tensor may have, that the tensors alive at one time may have together while the
            reference outputs are computed, and that constants may be expanded to.
        nodes: how many nodes the model may have, those that its functions and loops expand into included.
        seconds: how long the reference outputs may take; large weights add to it.
    """

    memory: int = field(default_factory=default_memory)
    nodes: int = MOST_NODES
    seconds: float = MOST_SECONDS


def element_bits(dtype: DType) -> int:
    """Return the bits that an element takes in memory; a string counts as the reference to it."""
    return _POINTER_BITS if dtype is DType.STR else dtype.numpy.itemsize * 8


def type_problem(type: TensorType, memory: int) -> str:
    """Return why there can be no tensor of this type within ``memory`` bytes, "" where there can.

    A symbolic dimension counts as 1: at run time it may be as small.
    """
    if type.rank > HIGHEST_RANK:
        return f"a tensor of {type.rank} dimensions; there may be {HIGHEST_RANK}"
    numbers = [d for d in type.shape if isinstance(d, int)]
    negative = [d for d in numbers if d < 0]
    if negative:
        return f"{type} has the negative dimension {negative[0]}"
    # Empty tensors must have strides too, so dimensions beside a 0 count.
    if prod(d for d in numbers if d) * element_bits(type.dtype) // 8 > _INT64_MAX:
        return f"{type} has more elements than 64 bits can count"
    nbytes = prod(numbers) * element_bits(type.dtype) // 8
    if nbytes > memory:
        return f"{type} takes {human_size(nbytes)}, and the memory budget is {human_size(memory)}"
    return ""


RAISE_MEMORY = "raise the budget with --max-memory GIB (in Python: Limits(memory=...)) if the model is meant to be so"


def human_size(count: int) -> str:
    """Return a byte count with a binary unit."""
    size, units = float(count), ["B", "KiB", "MiB", "GiB", "TiB", "PiB"]
    while size >= 1024 and len(units) > 1:
        size /= 1024
        units.pop(0)
    return f"{size:.3g} {units[0]}"
