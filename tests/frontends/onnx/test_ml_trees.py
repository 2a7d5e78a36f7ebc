"""Tree ensembles of ai.onnx.ml, compiled, against ONNX Runtime and a walk in Python."""

from __future__ import annotations

import math
import operator

import numpy as np
import pytest
from onnx import TensorProto, numpy_helper
from onnx_cases import check_compiled, microsoft_model, run_compiled, run_onnxruntime
from tree_cases import MODES, lists, rows

from lepton_ir.diagnostics import LeptonError

COMPARE = dict(zip(MODES, (operator.le, operator.lt, operator.ge, operator.gt, operator.eq, operator.ne), strict=True))


def build(op, x, version=3, **attributes):
    return microsoft_model(op, {"x": x}, domain="ai.onnx.ml", version=version, **attributes)


def check(op, x, **attributes):
    tolerances = {k: attributes.pop(k) for k in ("rtol", "atol", "wanted") if k in attributes}
    return check_compiled(build(op, x, **attributes), {"x": x}, **tolerances)


def walked(a, x, targets):
    """Return the sums of the votes, found node by node in f64."""
    nodes = {key: i for i, key in enumerate(zip(a["nodes_treeids"], a["nodes_nodeids"], strict=True))}
    y = np.zeros((len(x), targets))
    prefix = "target" if "target_ids" in a else "class"
    columns = [a[f"{prefix}_{n}"] for n in ("treeids", "nodeids", "ids", "weights")]
    for row, tree in ((r, t) for r in range(len(x)) for t in sorted(set(a["nodes_treeids"]))):
        at = 0
        while a["nodes_modes"][(i := nodes[tree, at])] != "LEAF":
            value = float(x[row, a["nodes_featureids"][i]])
            holds = COMPARE[a["nodes_modes"][i]](value, a["nodes_values"][i])
            holds |= math.isnan(value) and a["nodes_missing_value_tracks_true"][i] == 1
            at = a["nodes_truenodeids"][i] if holds else a["nodes_falsenodeids"][i]
        for t, n, k, weight in zip(*columns, strict=True):
            y[row, k] += weight if (t, n) == (tree, at) else 0
    return y.astype(np.float32)


@pytest.mark.parametrize("modes", [*((m,) for m in MODES), MODES], ids=lambda m: m[0] if len(m) == 1 else "mixed")
@pytest.mark.parametrize("missing", [False, True])
def test_comparisons(modes, missing):
    rng = np.random.default_rng(1)
    attributes, x = lists(rng, 5, 4, 5, 2, modes=modes), rows(rng, 77, 5, missing=missing)
    (got,) = check("TreeEnsembleRegressor", x, n_targets=2, **attributes)
    np.testing.assert_allclose(got, walked(attributes, x, 2), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("aggregate", ["SUM", "AVERAGE", "MIN", "MAX"])
@pytest.mark.parametrize(("targets", "every"), [(1, True), (3, True), (3, False)])
@pytest.mark.parametrize("base", [False, True])
def test_aggregates(aggregate, targets, every, base):
    rng = np.random.default_rng(2)
    attributes = lists(rng, 7, 3, 4, targets, modes=MODES, every=every)
    values = [0.5, -1.0, 2.0][:targets] if base else None
    x = rows(rng, 40, 4, missing=True)
    check("TreeEnsembleRegressor", x, n_targets=targets, aggregate_function=aggregate, base_values=values, **attributes)


@pytest.mark.parametrize("transform", ["NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT"])
@pytest.mark.parametrize("targets", [1, 3])
def test_transforms(transform, targets):
    rng = np.random.default_rng(3)
    attributes = lists(rng, 4, 3, 4, targets, positive=True)
    attributes["target_weights"] = [0.02 + 0.2 * w for w in attributes["target_weights"]]
    # ONNX Runtime's inverse error function loses digits around 0.
    atol = 5e-4 if transform == "PROBIT" else 2e-6
    check(
        "TreeEnsembleRegressor", rows(rng, 40, 4), n_targets=targets, post_transform=transform, **attributes, atol=atol
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.int32])
def test_element_types(dtype):
    rng = np.random.default_rng(4)
    attributes = lists(rng, 5, 4, 3, 2)
    x = rows(rng, 33, 3).astype(dtype)
    if dtype is np.float64:
        for name in ("nodes_values", "target_weights"):
            values = np.array(attributes.pop(name)) + rng.standard_normal() * 1e-9
            attributes[f"{name}_as_tensor"] = numpy_helper.from_array(values)
    wanted = None
    if x.dtype.kind == "i":
        # ONNX Runtime has no kernel for them.
        x32 = x.astype(np.float32)
        wanted = run_onnxruntime(build("TreeEnsembleRegressor", x32, n_targets=2, **attributes), {"x": x32})
    check("TreeEnsembleRegressor", x, n_targets=2, **attributes, wanted=wanted)


@pytest.mark.parametrize("count", [1, 32, 33, 200])
def test_blocks_of_rows(count):
    """Any number of rows, also one that is not known when the model is compiled."""
    from lepton_frontends.onnx.load import import_model

    import lepton_ir

    rng = np.random.default_rng(5)
    attributes, x = lists(rng, 20, 5, 6, 3), rows(rng, count, 6)
    proto = build("TreeEnsembleRegressor", x, n_targets=3, **attributes)
    (wanted,) = run_onnxruntime(proto, {"x": x})
    proto.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "rows"
    model = lepton_ir.runtime.load(lepton_ir.compile(import_model(proto), verify=False), threads=2)
    np.testing.assert_allclose(model(x)[0], wanted, rtol=1e-5, atol=1e-5)


def test_trees_of_one_leaf():
    attributes = lists(np.random.default_rng(6), 3, 0, 2, 1)
    check("TreeEnsembleRegressor", rows(np.random.default_rng(6), 5, 2), n_targets=1, **attributes)


LABELS = [7, 3, 11, -2]


def classifier(rng, classes, x, **options):
    attributes = {**lists(rng, 6, 3, 5, classes, prefix="class", **options), "classlabels_int64s": LABELS[:classes]}
    return attributes, build("TreeEnsembleClassifier", x, outputs=2, **attributes)


@pytest.mark.parametrize("transform", ["NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO"])
@pytest.mark.parametrize("every", [False, True])
@pytest.mark.parametrize("base", [False, True])
def test_classes(transform, every, base):
    rng = np.random.default_rng(7)
    attributes = lists(rng, 6, 3, 5, 4, prefix="class", every=every)
    values = [0.1, -0.3, 0.2, 0.4] if base else None
    check(
        "TreeEnsembleClassifier", rows(rng, 50, 5), outputs=2, post_transform=transform, base_values=values,
        classlabels_int64s=LABELS, **attributes,
    )  # fmt: skip


def test_ties_go_to_the_first_class():
    rng = np.random.default_rng(8)
    attributes = lists(rng, 2, 2, 3, 3, prefix="class")
    attributes["class_weights"] = [0.25] * len(attributes["class_weights"])
    labels = check("TreeEnsembleClassifier", rows(rng, 9, 3), outputs=2, classlabels_int64s=[5, 4, 3], **attributes)[0]
    assert set(labels) == {5}


@pytest.mark.parametrize("transform", ["NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO"])
@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize("base", [None, [0.25]])
def test_two_classes_of_which_one_is_voted_for(transform, positive, base):
    rng = np.random.default_rng(9)
    attributes = lists(rng, 3, 3, 5, 1, prefix="class", positive=positive)
    attributes["class_weights"] = [0.3 * w for w in attributes["class_weights"]]
    x = rows(rng, 50, 5)
    options = {"outputs": 2, "post_transform": transform, "classlabels_int64s": [7, 3], **attributes}
    assert len(set(check("TreeEnsembleClassifier", x, base_values=base, **options)[0])) == 2
    if base is None:
        options["class_ids"] = [1] * len(attributes["class_ids"])
        check("TreeEnsembleClassifier", x, **options)


def test_two_classes_with_votes_for_both():
    """The larger score wins, as the specification says (ONNX Runtime looks at the sign of the second alone)."""
    rng = np.random.default_rng(10)
    x = rows(rng, 50, 5)
    attributes, proto = classifier(rng, 2, x)
    labels, scores = run_compiled(proto, {"x": x})
    wanted = walked(attributes, x, 2)
    np.testing.assert_allclose(scores, wanted, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(labels, np.array(LABELS)[wanted.argmax(1)])


def places(rng, trees, depth, features, targets, dtype, members=False):
    """Return the attributes of a TreeEnsemble: nodes and leaves by position."""
    nodes, leaves, sets = [], [], []

    def grow(level):
        if level == depth or (level and rng.random() < 0.2):
            leaves.append((int(rng.integers(targets)), rng.standard_normal()))
            return len(leaves) - 1, 1
        own = len(nodes)
        mode = int(rng.integers(7 if members else 6))
        nodes.append([mode, int(rng.integers(features)), float(rng.integers(-3, 4)), int(rng.integers(2)), 0, 0, 0, 0])
        if mode == 6:
            sets.extend([*rng.choice(np.arange(-3.0, 4.0), rng.integers(0, 4), replace=False), np.nan])
        nodes[own][4:6] = grow(level + 1)
        nodes[own][6:8] = grow(level + 1)
        return own, 0

    roots = [grow(0)[0] for _ in range(trees)]
    mode, feature, split, missing, true, true_leaf, false, false_leaf = (list(c) for c in zip(*nodes, strict=True))
    attributes = {
        "tree_roots": roots, "nodes_modes": numpy_helper.from_array(np.array(mode, np.uint8)),
        "nodes_featureids": feature, "nodes_splits": numpy_helper.from_array(np.array(split, dtype)),
        "nodes_missing_value_tracks_true": missing, "nodes_truenodeids": true, "nodes_trueleafs": true_leaf,
        "nodes_falsenodeids": false, "nodes_falseleafs": false_leaf, "leaf_targetids": [t for t, _ in leaves],
        "leaf_weights": numpy_helper.from_array(np.array([w for _, w in leaves], dtype)), "n_targets": targets,
    }  # fmt: skip
    return attributes | ({"membership_values": numpy_helper.from_array(np.array(sets, dtype))} if sets else {})


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("aggregate", range(4))
def test_ensembles_by_position(dtype, aggregate):
    rng = np.random.default_rng(11)
    attributes = places(rng, 5, 4, 6, 3, dtype)
    x = rows(rng, 60, 6, dtype, missing=True)
    check("TreeEnsemble", x, version=5, aggregate_function=aggregate, **attributes)


def expected(a, x):
    """Return the sums of a TreeEnsemble, found node by node."""
    arrays = {k: numpy_helper.to_array(v) if isinstance(v, TensorProto) else v for k, v in a.items()}
    ends = np.flatnonzero(np.isnan(arrays["membership_values"]))
    sets = iter(np.split(arrays["membership_values"], ends + 1))
    members = {i: set(next(sets)) for i, m in enumerate(arrays["nodes_modes"]) if m == 6}
    y = np.zeros((len(x), a["n_targets"]))
    for row, root in ((r, t) for r in range(len(x)) for t in a["tree_roots"]):
        at, leaf = root, 0
        while not leaf:
            value, mode = x[row, a["nodes_featureids"][at]], int(arrays["nodes_modes"][at])
            if mode == 6:
                holds = value in members[at]
            else:
                holds = COMPARE[MODES[mode]](value, arrays["nodes_splits"][at])
            holds = holds or (math.isnan(value) and a["nodes_missing_value_tracks_true"][at] == 1)
            side = "true" if holds else "false"
            at, leaf = a[f"nodes_{side}nodeids"][at], a[f"nodes_{side}leafs"][at]
        y[row, a["leaf_targetids"][at]] += arrays["leaf_weights"][at]
    return y.astype(x.dtype)


@pytest.mark.parametrize("seed", range(4))
def test_membership_in_sets(seed):
    rng = np.random.default_rng(seed)
    attributes = places(rng, 5, 4, 6, 2, np.float32, members=True)
    x = rows(rng, 60, 6, missing=True)
    check("TreeEnsemble", x, version=5, **attributes, wanted=[expected(attributes, x)])


def test_half_precision():
    rng = np.random.default_rng(12)
    attributes = places(rng, 3, 3, 4, 2, np.float16)
    x = rows(rng, 20, 4, np.float16)
    wide = dict(attributes)
    for name in ("nodes_splits", "leaf_weights"):
        wide[name] = numpy_helper.from_array(numpy_helper.to_array(attributes[name]).astype(np.float32))
    x32 = x.astype(np.float32)
    (wanted,) = run_onnxruntime(build("TreeEnsemble", x32, version=5, **wide), {"x": x32})
    check("TreeEnsemble", x, version=5, **attributes, wanted=[wanted.astype(np.float16)], rtol=2**-9, atol=1e-3)


def refused(match, op="TreeEnsembleRegressor", x=None, **changes):
    attributes = lists(np.random.default_rng(13), 2, 2, 3, 1, prefix="target" if "Reg" in op else "class")
    x = np.zeros((4, 3), np.float32) if x is None else x
    proto = build(op, x, outputs=1 if "Reg" in op else 2, **{**attributes, **changes})
    with pytest.raises(LeptonError, match=match):
        run_compiled(proto, {"x": x})


def test_what_are_no_trees():
    refused("none of 1", target_ids=[5] * _votes())
    refused("differ in length", nodes_values=[1.0])
    refused("it needs .* features, the input has 1", x=np.zeros((4, 1), np.float32))
    refused("aggregate function MEDIAN is not known", aggregate_function="MEDIAN")
    refused("given twice", op="TreeEnsembleClassifier", classlabels_int64s=[0, 1], classlabels_strings=["a", "b"])
    refused("is not known", post_transform="CUBE")


def _votes():
    return len(lists(np.random.default_rng(13), 2, 2, 3, 1)["target_ids"])


def test_cycles_are_refused():
    attributes = lists(np.random.default_rng(14), 1, 2, 3, 1)
    inner = [i for i, m in enumerate(attributes["nodes_modes"]) if m != "LEAF"]
    attributes["nodes_truenodeids"][inner[-1]] = 0
    x = np.zeros((4, 3), np.float32)
    with pytest.raises(LeptonError, match="has a cycle"):
        run_compiled(build("TreeEnsembleRegressor", x, **attributes), {"x": x})
