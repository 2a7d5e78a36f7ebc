"""Attention kernels against numpy."""

from __future__ import annotations

from typing import Any

from kernel_cases import Case, case, check

from lepton_ir.ir import DType, Value, sym, tensor
from lepton_ir.ir.builder import Builder

N, S = sym("N"), sym("S")


def attend(b: Builder, q: Value, k: Value, v: Value, mask: Value | None = None) -> Any:
    return b.nn_attention(q, k, v, mask, scale=0.125)


def heads(b: Builder, q: Value, k: Value, v: Value) -> Any:
    """Attention over [N, S, H * D], the heads taken apart and joined in the kernel."""
    n, s, width = q.shape

    def split(x: Value) -> Any:
        return b.tensor_transpose(b.tensor_reshape(x, shape=(n, s, 3, width // 3)), perm=(0, 2, 1, 3))

    joined = b.tensor_transpose(attend(b, split(q), split(k), split(v)), perm=(0, 2, 1, 3))
    return b.tensor_reshape(joined, shape=(n, s, width))


def plain(name: str, batch: tuple[Any, ...], m: Any, s: Any, d: int, e: int, env: Any = None) -> Case:
    return case(name, [(*batch, m, d), (*batch, s, d), (*batch, s, e)], attend, env=env, tolerance=1e-5)


def test_attention() -> None:
    sizes = {"N": 2, "S": 37}
    mask = tensor((2, 1, 1, 50))
    half = tensor((2, 20, 32), DType.F16)
    check(
        [
            plain("bert", (1, 2), 128, 128, 64, 64),
            plain("odd", (2, 3), 29, 50, 17, 21),
            plain("one row", (2,), 1, 7, 8, 8),
            plain("no batch", (), 5, 70, 64, 33),
            plain("dynamic", (N, 2), S, S, 64, 64, sizes),
            plain("dynamic short", (N, 2), S, S, 16, 8, {"N": 1, "S": 3}),
            case("masked", [(2, 3, 29, 16), (2, 3, 50, 16), (2, 3, 50, 16), mask], attend, tolerance=1e-5),
            case("heads", [(N, S, 48)] * 3, heads, env=sizes, tolerance=1e-5),
            case("f16", [half, half, half], attend, tolerance=2e-3),
        ]
    )
