"""Attention and MultiHeadAttention of com.microsoft, compiled, against ONNX Runtime."""

from __future__ import annotations

import numpy as np
import pytest
from onnx_cases import check_compiled, microsoft_model

from lepton_ir.diagnostics import LeptonError

RNG = np.random.default_rng(6)


def f32(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def i32(*values):
    return np.array(values, np.int32)


def check(op, arrays, **options):
    tolerances = {k: options.pop(k) for k in ("rtol", "atol", "wanted", "constants") if k in options}
    return check_compiled(microsoft_model(op, arrays, **options), arrays, **{"atol": 1e-5, **tolerances})


B, S, HEADS, D = 2, 5, 3, 7
WIDTH = HEADS * D


def self_attention(width=11, hidden=3 * WIDTH, bias=True, **others):
    return {"x": f32(B, S, width), "w": f32(width, hidden) / 3, "b": f32(hidden) if bias else None, **others}


def masks(batch, queries, keys):
    raw = RNG.integers(0, 2, (batch, queries, keys)).astype(np.int32)
    raw[..., 0] = 1
    flat = raw[:, 0].copy()
    flat[0] = 0
    return {
        "none": None, "lengths": np.array([keys - 2, 1], np.int32)[:batch], "ends and starts": i32(keys, 3, 1, 2),
        "keys": flat, "pairs": raw, "dummy": np.ones((batch, 1), np.int32),
    }  # fmt: skip


@pytest.mark.parametrize("mask", masks(B, S, S))
@pytest.mark.parametrize("unidirectional", [0, 1])
def test_attention(mask, unidirectional):
    arrays = self_attention(mask=masks(B, S, S)[mask])
    check("Attention", arrays, num_heads=HEADS, unidirectional=unidirectional)


@pytest.mark.parametrize("mask", ["none", "lengths", "keys", "pairs"])
@pytest.mark.parametrize("unidirectional", [0, 1])
def test_attention_with_a_past(mask, unidirectional):
    past = f32(2, B, HEADS, 4, D)
    arrays = self_attention(mask=masks(B, S, S + 4)[mask], past=past)
    check("Attention", arrays, num_heads=HEADS, unidirectional=unidirectional, outputs=2, scale=0.3)


@pytest.mark.parametrize("shape", [(B, HEADS), (1, HEADS), (B, 1), (1, 1)])
def test_attention_with_a_bias_on_the_scores(shape):
    arrays = self_attention(bias=False, mask=masks(B, S, S)["keys"], past=None, bias_qk=f32(*shape, S, S))
    check("Attention", arrays, num_heads=HEADS, mask_filter_value=-3.0)


def test_attention_with_values_of_another_width():
    arrays = self_attention(hidden=2 * WIDTH + HEADS * 4)
    check("Attention", arrays, num_heads=HEADS, qkv_hidden_sizes=[WIDTH, WIDTH, HEADS * 4])


def test_attention_with_a_megatron_mask():
    """[B, 1, M, M]: rows and columns of the longest sequence, of which the last ones are the queries'."""
    mask = np.tril(np.ones((B, 1, 9, 9), np.int32))
    arrays = self_attention(mask=mask, past=f32(2, B, HEADS, 3, D))
    flat = {**arrays, "mask": np.ascontiguousarray(mask[:, 0, 3:8, :8])}
    from onnx_cases import run_onnxruntime

    wanted = run_onnxruntime(microsoft_model("Attention", flat, outputs=2, num_heads=HEADS), flat)
    check("Attention", arrays, outputs=2, num_heads=HEADS, wanted=wanted)


def test_attention_of_any_length():
    """Batch and lengths are symbols: one artifact serves several sizes."""
    from lepton_frontends.onnx.load import import_model
    from onnx_cases import run_onnxruntime

    import lepton_ir

    arrays = self_attention(mask=masks(B, S, S)["keys"])
    proto = microsoft_model("Attention", arrays, num_heads=HEADS, unidirectional=1)
    for name, dims in (("x", ("batch", "length")), ("mask", ("batch", "length"))):
        value = next(i for i in proto.graph.input if i.name == name)
        for i, symbol in enumerate(dims):
            value.type.tensor_type.shape.dim[i].dim_param = symbol
    model = lepton_ir.runtime.load(lepton_ir.compile(import_model(proto), verify=False))
    for batch, length in ((1, 1), (2, 5), (3, 17)):
        mask = RNG.integers(0, 2, (batch, length)).astype(np.int32)
        feeds = {**arrays, "x": f32(batch, length, 11), "mask": mask}
        (wanted,) = run_onnxruntime(proto, feeds)
        np.testing.assert_allclose(model(*feeds.values())[0], wanted, atol=1e-5, rtol=1e-5)


def test_a_mask_whose_length_has_a_name_of_its_own():
    from lepton_frontends.onnx.load import import_model
    from onnx_cases import run_onnxruntime

    import lepton_ir

    names = ("q", "k", "v", "bias", "mask", "bias_qk", "past_k", "past_v")
    symbols = {"q": "new", "k": "new", "v": "new", "mask": "total", "past_k": "past", "past_v": "past"}

    def given(new, past):
        parts = [f32(1, new, WIDTH) for _ in range(3)]
        cached = [f32(1, HEADS, past, D) for _ in range(2)]
        mask = np.ones((1, past + new), np.int32)
        mask[0, 1] = 0
        return dict(zip(names, [*parts, None, mask, None, *cached], strict=True))

    proto = microsoft_model("MultiHeadAttention", given(3, 4), num_heads=HEADS, outputs=3, unidirectional=1)
    for value in proto.graph.input:
        axis = 2 if value.name.startswith("past") else 1
        value.type.tensor_type.shape.dim[axis].dim_param = symbols[value.name]
    module = import_model(proto)
    model = lepton_ir.runtime.load(lepton_ir.compile(module, verify=False))
    for new, past in ((3, 4), (1, 9)):
        feeds = {n: a for n, a in given(new, past).items() if a is not None}
        for g, w in zip(model(*feeds.values()), run_onnxruntime(proto, feeds), strict=True):
            np.testing.assert_allclose(g, w, rtol=1e-5, atol=1e-5)
    feeds["mask"] = feeds["mask"][:, :4]
    with pytest.raises(LeptonError):
        model(*feeds.values())


def cross(keys=6, value_width=D, **others):
    return {"q": f32(B, S, WIDTH), "k": f32(B, keys, WIDTH), "v": f32(B, keys, HEADS * value_width), **others}


@pytest.mark.parametrize("mask", ["none", "lengths", "keys", "pairs"])
@pytest.mark.parametrize("bias", [False, True])
def test_multi_head_attention(mask, bias):
    arrays = cross(bias=f32(3 * WIDTH) if bias else None, mask=masks(B, S, 6)[mask])
    check("MultiHeadAttention", arrays, num_heads=HEADS, outputs=3)


@pytest.mark.parametrize("unidirectional", [0, 1])
@pytest.mark.parametrize("mask", ["none", "keys"])
def test_multi_head_attention_with_a_past(unidirectional, mask):
    past = [f32(B, HEADS, 4, D) for _ in range(2)]
    arrays = cross(
        keys=S, bias=f32(3 * WIDTH), mask=masks(B, S, S + 4)[mask], bias_qk=f32(1, HEADS, S, S + 4), past_k=past[0],
        past_v=past[1],
    )  # fmt: skip
    check(
        "MultiHeadAttention", arrays, num_heads=HEADS, unidirectional=unidirectional, outputs=3, scale=0.4,
        mask_filter_value=-50.0,
    )  # fmt: skip


def test_multi_head_attention_to_cached_heads():
    arrays = {"q": f32(B, S, WIDTH), "k": f32(B, HEADS, 6, D), "v": f32(B, HEADS, 6, D)}
    check("MultiHeadAttention", arrays, num_heads=HEADS)


def test_values_of_another_width():
    check("MultiHeadAttention", cross(value_width=4), num_heads=HEADS)


def test_scores_as_an_output():
    arrays = cross(keys=S, bias=f32(3 * WIDTH), mask=masks(B, S, S)["keys"], bias_qk=f32(1, HEADS, S, S))
    check("MultiHeadAttention", arrays, num_heads=HEADS, outputs=4, types={3: 1}, mask_filter_value=-50.0)


def test_packed_queries_keys_and_values():
    """ONNX Runtime has no CPU kernel for packed tensors: they are unpacked for it."""
    from onnx_cases import run_onnxruntime

    arrays = cross(keys=S)
    wanted = run_onnxruntime(microsoft_model("MultiHeadAttention", arrays, num_heads=HEADS), arrays)
    q, k, v = (a.reshape(B, S, HEADS, D) for a in arrays.values())
    check("MultiHeadAttention", {"q": np.stack([q, k, v], 3)}, num_heads=HEADS, wanted=wanted)
    packed = {"q": arrays["q"], "kv": np.stack([k, v], 3)}
    check("MultiHeadAttention", packed, num_heads=HEADS, wanted=wanted)


def test_a_buffer_that_past_and_present_share_is_refused():
    arrays = self_attention(mask=None, past=f32(2, B, HEADS, 8, D), bias_qk=None, length=i32(2))
    with pytest.raises(LeptonError, match="share one buffer"):
        check("Attention", arrays, num_heads=HEADS, past_present_share_buffer=1, wanted=[])


def test_a_mask_of_another_length_is_refused():
    with pytest.raises(LeptonError, match="does not cover the 6 keys"):
        check("MultiHeadAttention", cross(bias=None, mask=np.ones((B, 4), np.int32)), num_heads=HEADS, wanted=[])
