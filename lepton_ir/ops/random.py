"""Random bits."""

from __future__ import annotations

import numpy as np

from lepton_ir.ir.core import OpResult
from lepton_ir.ir.opdef import FusionKind, InferenceError, Operation, attribute, dims_attribute, result
from lepton_ir.ir.types import DType, TensorType, Type
from lepton_ir.ops.support import Array, ints, require_sizes

ROUNDS = 10
MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
WEYL = (0x9E3779B9, 0xBB67AE85)
_LOW = 0xFFFFFFFF


class RandomBits(Operation):
    """Random integers: a function of the key and of an element's place alone, so every run gives the same.

    The numbers are those of the counter-based generator Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers:
    as easy as 1, 2, 3", https://doi.org/10.1145/2063384.2063405): the counter is the element's row-major number, and
    ``word`` picks one of the four results, so that an element has four numbers that are independent of each other.
    """

    name = "random.bits"
    fusion = FusionKind.INJECTIVE
    is_random = True
    shape = dims_attribute()
    key = attribute(int, doc="64 bits that name the sequence")
    word = attribute(int, default=0, doc="0 to 3")
    y: OpResult = result("u32")

    def infer(self) -> Type:
        require_sizes(self.name, self.shape)
        return TensorType(self.shape, DType.U32)

    def verify(self) -> None:
        if not 0 <= self.word < 4:
            raise InferenceError(f"word of random.bits must be 0 to 3, got {self.word}")

    def evaluate(self) -> Array:
        shape = ints(self.shape)
        place = np.arange(int(np.prod(shape, dtype=np.int64)), dtype=np.uint64)
        words = [place & np.uint64(_LOW), place >> np.uint64(32), np.zeros_like(place), np.zeros_like(place)]
        for keys in round_keys(self.key):
            first, second = (w * np.uint64(m) for w, m in zip(words[::2], MULTIPLIERS, strict=True))
            high = (first >> np.uint64(32), second >> np.uint64(32))
            low = (first & np.uint64(_LOW), second & np.uint64(_LOW))
            words = [high[1] ^ words[1] ^ np.uint64(keys[0]), low[1], high[0] ^ words[3] ^ np.uint64(keys[1]), low[0]]
        return words[self.word].astype(np.uint32).reshape(shape)


def round_keys(key: int) -> list[tuple[int, int]]:
    """Return the two halves of the key in every round."""
    halves = (key & _LOW, key >> 32 & _LOW)
    return [(halves[0] + i * WEYL[0] & _LOW, halves[1] + i * WEYL[1] & _LOW) for i in range(ROUNDS)]
