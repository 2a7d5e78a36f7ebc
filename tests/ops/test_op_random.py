"""random.bits against the published test vectors of Philox4x32-10."""

from __future__ import annotations

import numpy as np
import pytest
from op_harness import evaluate, make

from lepton_ir.ir import InferenceError
from lepton_ir.ops.random import round_keys


def test_known_answer() -> None:
    # kat_vectors of Random123: counter 0, key 0.
    words = [int(evaluate("random.bits", shape=(1,), key=0, word=w)[0]) for w in range(4)]
    assert words == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]


def test_numbers_against_plain_integers() -> None:
    key = 0x0123456789ABCDEF
    found = np.stack([evaluate("random.bits", shape=(3, 50), key=key, word=w).reshape(-1) for w in range(4)], -1)
    assert found.tolist() == [philox(i, key) for i in range(150)]


def philox(place: int, key: int) -> list[int]:
    """Return the four words for a counter, after the paper's listing."""
    low = 0xFFFFFFFF
    c, k = [place & low, place >> 32, 0, 0], [key & low, key >> 32]
    for _ in range(10):
        p, q = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [q >> 32 ^ c[1] ^ k[0], q & low, p >> 32 ^ c[3] ^ k[1], p & low]
        k = [k[0] + 0x9E3779B9 & low, k[1] + 0xBB67AE85 & low]
    return c


def test_the_key_changes_in_every_round() -> None:
    assert round_keys(1 << 32 | 2)[:2] == [(2, 1), (2 + 0x9E3779B9, 1 + 0xBB67AE85)]
    with pytest.raises(InferenceError, match="0 to 3"):
        make("random.bits", shape=(1,), key=0, word=-1)
