"""Places in Python code that archives of PyTorch name."""

from __future__ import annotations

import re

_OWN = r"nn|_\w+|jit|utils|fx|export|autograd|amp|ao|functional\.py|overrides\.py"
_PYTORCH = re.compile(rf"(^|/)torch/({_OWN})(/|$|\.)|^<")


def is_pytorch(file: str) -> bool:
    """Return whether a file is one of PyTorch's own, or no file at all."""
    return _PYTORCH.search(file) is not None or file.endswith("torch/functional.py")
