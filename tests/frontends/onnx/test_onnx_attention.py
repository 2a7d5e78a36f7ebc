"""ONNX's own transformer operators, compiled, against the ONNX reference evaluator."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper
from onnx.reference import ReferenceEvaluator
from onnx_cases import check_compiled, info, model

RNG = np.random.default_rng(16)
B, HEADS, SHARED, S, T, D, E = 2, 6, 3, 5, 7, 8, 9


def f32(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def check(op, arrays, outputs=1, opset=25, optional=(), atol=1e-5, **attributes):
    names = [n if a is not None else "" for n, a in arrays.items()]
    feeds = {n: a for n, a in arrays.items() if a is not None}
    ys = ["" if i in optional else f"y{i}" for i in range(outputs)]
    node = helper.make_node(op, names, ys, **attributes)
    inputs = [info(n, a.shape, helper.np_dtype_to_tensor_dtype(a.dtype)) for n, a in feeds.items()]
    proto = model([node], inputs, [y for y in ys if y], opset, ir_version=11)
    wanted = ReferenceEvaluator(proto).run(None, feeds)
    check_compiled(proto, feeds, wanted=wanted, atol=atol)


def heads(rank, keys=T, shared=SHARED):
    q, k, v = f32(B, HEADS, S, D), f32(B, shared, keys, D), f32(B, shared, keys, E)
    if rank == 4:
        return {"q": q, "k": k, "v": v}, {}
    flat = {n: a.transpose(0, 2, 1, 3).reshape(B, a.shape[2], -1) for n, a in (("q", q), ("k", k), ("v", v))}
    return flat, {"q_num_heads": HEADS, "kv_num_heads": shared}


def some(*shape):
    mask = RNG.random(shape) < 0.6
    mask[..., 0] = True
    return mask


def blind():
    """Return a mask that hides all keys from the second query."""
    mask = f32(S, T)
    mask[1] = -np.inf
    return mask


MASKS = {
    "none": None, "pairs": some(S, T), "all": some(B, HEADS, S, T), "rows": some(B, 1, S, T),
    "additive": f32(S, T), "blind": blind(),
    "shorter": some(S, T - 2), "nothing": np.zeros((S, T), bool),
}  # fmt: skip


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("is_causal", [0, 1])
@pytest.mark.parametrize("rank", [3, 4])
def test_masks(mask, is_causal, rank):
    arrays, attributes = heads(rank)
    check("Attention", {**arrays, "mask": MASKS[mask]}, is_causal=is_causal, **attributes)


@pytest.mark.parametrize("shared", [1, HEADS])
@pytest.mark.parametrize("softcap", [0.0, 0.8])
@pytest.mark.parametrize("is_causal", [0, 1])
def test_caches(shared, softcap, is_causal):
    arrays, attributes = heads(4, keys=S, shared=shared)
    past = {"pk": f32(B, shared, 4, D), "pv": f32(B, shared, 4, E)}
    given = {**arrays, "mask": some(S, S + 4), **past}
    check("Attention", given, outputs=3, softcap=softcap, is_causal=is_causal, scale=0.3, **attributes)


@pytest.mark.parametrize(("mode", "softcap"), [(0, 0.0), (1, 0.0), (1, 0.7), (2, 0.0), (2, 0.7), (3, 0.0), (3, 0.7)])
@pytest.mark.parametrize("rank", [3, 4])
def test_scores_as_an_output(mode, softcap, rank):
    arrays, attributes = heads(rank)
    check(
        "Attention", {**arrays, "mask": some(S, T)}, outputs=4, optional=(1, 2), qk_matmul_output_mode=mode,
        softcap=softcap, **attributes,
    )  # fmt: skip


@pytest.mark.parametrize("is_causal", [0, 1])
@pytest.mark.parametrize("windows", [(-1, -1), (2, 0), (1, 2)])
def test_lengths_and_windows(is_causal, windows):
    arrays, attributes = heads(4)
    given = {**arrays, "mask": None, "pk": None, "pv": None, "lengths": np.array([T, 3], np.int64)}
    left, right = windows
    check("Attention", given, is_causal=is_causal, left_window_size=left, right_window_size=right, **attributes)


@pytest.mark.parametrize("precision", [1, 11])
def test_softmax_in_another_precision(precision):
    arrays, attributes = heads(4)
    check("Attention", arrays, softmax_precision=precision, **attributes)


@pytest.mark.parametrize("interleaved", [0, 1])
@pytest.mark.parametrize("rank", [3, 4])
@pytest.mark.parametrize("partial", [0, 4])
@pytest.mark.parametrize("ids", [False, True])
def test_rotary_embedding(interleaved, rank, partial, ids):
    x = f32(B, S, 3 * D) if rank == 3 else f32(B, 3, S, D)
    half = (partial or D) // 2
    caches = (20, half) if ids else (B, S, half)
    arrays = {"x": x, "cos": np.cos(f32(*caches)), "sin": np.sin(f32(*caches))}
    arrays["ids"] = RNG.integers(0, 20, (B, S)) if ids else None
    check(
        "RotaryEmbedding", arrays, interleaved=interleaved, rotary_embedding_dim=partial,
        num_heads=3 if rank == 3 else 0,
    )  # fmt: skip


@pytest.mark.parametrize("axis", [-1, 1])
@pytest.mark.parametrize("op", ["RMSNormalization", "LayerNormalization"])
def test_normalization(op, axis):
    shape = (2, 3, 9)
    arrays = {"x": f32(*shape), "scale": f32(*shape[axis:])}
    check(op, arrays, outputs=3 if op[0] == "L" else 1, axis=axis, epsilon=1e-3)


@pytest.mark.parametrize("rule", ["linear", "gated", "delta", "gated_delta"])
@pytest.mark.parametrize("past", [False, True])
def test_linear_attention(rule, past):
    heads_, width, length = 2, 4, 5
    arrays = {
        "q": f32(B, length, heads_ * width), "k": f32(B, length, heads_ * width), "v": f32(B, length, heads_ * width),
        "past": f32(B, heads_, width, width) if past else None,
        "decay": -np.abs(f32(B, length, heads_)) if "gated" in rule else None,
        "beta": RNG.random((B, length, heads_)).astype(np.float32) if "delta" in rule else None,
    }  # fmt: skip
    check(
        "LinearAttention", arrays, outputs=2, opset=27, update_rule=rule, q_num_heads=heads_, kv_num_heads=heads_,
        atol=1e-4,
    )  # fmt: skip


def test_causal_attention_of_any_length():
    """One artifact for any batch, length and cache."""
    from lepton_frontends.onnx.load import import_model

    import lepton_ir

    arrays = {"q": f32(1, 4, 2, D), "k": f32(1, 2, 2, D), "v": f32(1, 2, 2, D), "mask": None}
    arrays |= {"pk": f32(1, 2, 3, D), "pv": f32(1, 2, 3, D)}
    node = helper.make_node("Attention", ["q", "k", "v", "", "pk", "pv"], ["y", "nk", "nv"], is_causal=1)
    shapes = {n: ["batch", a.shape[1], "new", D] for n, a in arrays.items() if a is not None}
    shapes["pk"][2] = shapes["pv"][2] = "cached"
    proto = model([node], [info(n, s) for n, s in shapes.items()], ["y", "nk", "nv"], 24, ir_version=10)
    compiled = lepton_ir.runtime.load(lepton_ir.compile(import_model(proto), verify=False))
    for batch, new, cached in ((1, 1, 6), (2, 4, 0), (3, 5, 9)):
        feeds = {n: f32(batch, s[1], cached if n in ("pk", "pv") else new, D) for n, s in shapes.items()}
        wanted = ReferenceEvaluator(proto).run(None, feeds)
        for g, w in zip(compiled(*feeds.values()), wanted, strict=True):
            np.testing.assert_allclose(g, w, rtol=1e-5, atol=1e-5)
