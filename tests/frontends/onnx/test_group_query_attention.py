"""GroupQueryAttention and RotaryEmbedding, compiled, against ONNX Runtime."""

from __future__ import annotations

import numpy as np
import pytest
from onnx_cases import F32, check_compiled, microsoft_model, run_compiled, run_onnxruntime

from lepton_ir.diagnostics import LeptonError

RNG = np.random.default_rng(7)


def f32(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def i32(*values):
    return np.array(values, np.int32)


def check(op, arrays, **options):
    tolerances = {k: options.pop(k) for k in ("rtol", "atol", "wanted", "constants") if k in options}
    return check_compiled(microsoft_model(op, arrays, **options), arrays, **{"atol": 1e-5, **tolerances})


B, HEADS, SHARED, D = 2, 6, 2, 16
CACHES = {"cos": np.cos(f32(40, D // 2)), "sin": np.sin(f32(40, D // 2))}
OPTIONAL = ("cos", "sin", "ids", "bias", "sink", "ks", "vs", "qn", "kn", "valid")


def step(length, cached, totals, total=None, batch=B, packed=False, **others):
    """Return the inputs of a node: ``length`` new tokens, a cache of ``cached``, then ``totals`` tokens."""
    heads = [f32(batch, length, n * D) for n in (HEADS, SHARED, SHARED)]
    query = [np.concatenate(heads, 2), None, None] if packed else heads
    past = [f32(batch, SHARED, cached, D) for _ in range(2)] if cached is not None else [None, None]
    given = dict(zip(("q", "k", "v", "pk", "pv"), (*query, *past), strict=True))
    given |= {"seqlens": i32(*totals) - 1, "total": np.array(max(totals) if total is None else total, np.int32)}
    return {**given, **{n: others.get(n) for n in OPTIONAL}}


def run(arrays, **options):
    options = {"num_heads": HEADS, "kv_num_heads": SHARED, "outputs": 3, **options}
    return check("GroupQueryAttention", arrays, constants=["total"], **options)


PROMPT, TOKEN, CHUNK = (5, None, (5, 5)), (1, 6, (7, 4)), (3, 4, (7,))


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("rotary", [None, 0, 1])
@pytest.mark.parametrize("at", [PROMPT, TOKEN, CHUNK])
def test_steps(at, rotary, packed):
    caches = {} if rotary is None else CACHES
    arrays = step(*at, batch=len(at[2]), packed=packed, **caches)
    run(arrays, do_rotary=int(rotary is not None), rotary_interleaved=rotary or 0)


@pytest.mark.parametrize("at", [(9, None, (9, 9)), (1, 12, (13, 8)), (3, 9, (12,))])
@pytest.mark.parametrize("window", [1, 4])
def test_windows(at, window):
    run(step(*at, batch=len(at[2])), local_window_size=window)


@pytest.mark.parametrize("at", [PROMPT, TOKEN])
def test_softcap_and_scale(at):
    run(step(*at), softcap=0.7, scale=0.9)


@pytest.mark.parametrize("at", [PROMPT, TOKEN])
@pytest.mark.parametrize("rows", [1, B])
@pytest.mark.parametrize("heads", [1, HEADS])
def test_bias_on_the_scores(at, rows, heads):
    length, _, totals = at
    run(step(*at, bias=f32(rows, heads, length, max(totals))), softcap=0.9)


@pytest.mark.parametrize("sink", [False, True])
def test_smooth_softmax_and_sinks(sink):
    run(step(*TOKEN, sink=f32(HEADS) if sink else None), smooth_softmax=None if sink else 1)


def test_a_buffer_longer_than_what_it_holds():
    """The rest of the cache is 0 after the step, as where past and present are tensors of their own."""
    arrays = step(1, 12, (7, 4), bias=f32(1, 1, 1, 7))
    got = run(arrays)
    assert got[1].shape == (B, SHARED, 12, D)


def check_valid_rows(arrays, counts):
    """Compare (new tokens, tokens in all) of each row: what comes out for padding is not specified."""
    options = {"outputs": 3, "num_heads": HEADS, "kv_num_heads": SHARED, "do_rotary": 1}
    proto = microsoft_model("GroupQueryAttention", arrays, **options)
    feeds = {n: a for n, a in arrays.items() if a is not None}
    got, wanted = run_compiled(proto, feeds, ["total"]), run_onnxruntime(proto, feeds)
    for row, (new, total) in enumerate(counts):
        np.testing.assert_allclose(got[0][row, :new], wanted[0][row, :new], atol=1e-5)
        for i in (1, 2):
            np.testing.assert_allclose(got[i][row, :, :total], wanted[i][row, :, :total], atol=1e-5)


def test_a_prompt_with_padding():
    check_valid_rows(step(5, None, (5, 3), **CACHES), [(5, 5), (3, 3)])


def test_valid_tokens_of_a_chunk():
    check_valid_rows(step(3, 8, (6, 3), valid=i32(2, 1), total=8, **CACHES), [(2, 6), (1, 3)])


def test_positions_given():
    ids = np.array([[6], [3]], np.int64)
    run(step(*TOKEN, **CACHES, ids=ids), do_rotary=1)


def test_bidirectional():
    run(step(5, None, (5, 5)), causal=0)


@pytest.mark.parametrize("mode", [1, 2])
def test_scores_as_an_output(mode):
    run(step(*TOKEN), qk_output=mode, outputs=4, types={3: F32}, softcap=0.8)


@pytest.mark.parametrize(
    "attributes", [{"sliding_window_cache": 1, "local_window_size": 4}, {"k_quant_type": "PER_TENSOR"}]
)
def test_caches_of_windows_and_quantized_ones_are_refused(attributes):
    with pytest.raises(LeptonError, match=r"its caches (hold a window only|are quantized)"):
        run(step(*TOKEN), wanted=[], **attributes)


@pytest.mark.parametrize("interleaved", [0, 1])
@pytest.mark.parametrize("rank", [3, 4])
@pytest.mark.parametrize("offset", [False, True])
@pytest.mark.parametrize("partial", [0, 6])
def test_rotary_embedding(interleaved, rank, offset, partial):
    heads, length, width = 3, 5, 10
    x = f32(B, length, heads * width) if rank == 3 else f32(B, heads, length, width)
    places = np.array([4], np.int64) if offset else RNG.integers(0, 20, (B, length)).astype(np.int64)
    half = (partial or width) // 2
    arrays = {"x": x, "ids": places, "cos": np.cos(f32(20, half)), "sin": np.sin(f32(20, half))}
    check(
        "RotaryEmbedding", arrays, interleaved=interleaved, rotary_embedding_dim=partial,
        num_heads=heads if partial else 0,
    )  # fmt: skip


def test_heads_of_a_dynamic_step():
    """One artifact for any batch, length of the cache and number of new tokens."""
    from lepton_frontends.onnx.load import import_model

    import lepton_ir

    names = ("q", "k", "v", "pk", "pv", "seqlens", "total", "cos", "sin")
    arrays = {n: a for n, a in step(1, 6, (7, 4), **CACHES).items() if n in names}
    proto = microsoft_model("GroupQueryAttention", arrays, outputs=3, num_heads=HEADS, kv_num_heads=SHARED, do_rotary=1)
    symbols = {"q": {0: "batch", 1: "new"}, "pk": {0: "batch", 2: "cached"}, "seqlens": {0: "batch"}}
    symbols |= {"k": symbols["q"], "v": symbols["q"], "pv": symbols["pk"]}
    for value in proto.graph.input:
        for axis, symbol in symbols.get(value.name, {}).items():
            value.type.tensor_type.shape.dim[axis].dim_param = symbol
    module = import_model(proto, constants={"total": np.array(9, np.int32)})
    model = lepton_ir.runtime.load(lepton_ir.compile(module, verify=False))
    for length, cached, totals in ((1, 8, (9, 5)), (1, 8, (9,)), (4, 5, (9,))):
        feeds = {
            n: a for n, a in step(length, cached, totals, total=9, batch=len(totals), **CACHES).items() if n in names
        }
        wanted = run_onnxruntime(proto, feeds)
        got = model(*[feeds[a.name] for a in module.main.arguments])
        for g, w in zip(got, wanted, strict=True):
            np.testing.assert_allclose(g, w, atol=1e-5, rtol=1e-5)
