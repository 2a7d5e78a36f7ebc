"""What all tests share: random numbers that depend on the test alone, not on which tests ran before it."""

import sys
import zlib
from pathlib import Path

import numpy as np
import pytest

TESTS = str(Path(__file__).parent)


@pytest.fixture(autouse=True)
def own_numbers(request: pytest.FixtureRequest) -> None:
    """Seeds PyTorch, and the generators that modules hold, by the name of the test, however tests are divided."""
    seed = zlib.crc32(request.node.nodeid.encode())
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(seed)
    for module in list(sys.modules.values()):
        if not str(getattr(module, "__file__", None)).startswith(TESTS):
            continue
        for value in vars(module).values():
            if isinstance(value, np.random.Generator):
                value.bit_generator.state = type(value.bit_generator)(seed).state
