"""Linear models, support vector machines and features of ai.onnx.ml, compiled, against ONNX Runtime."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import numpy_helper
from onnx_cases import check_compiled, microsoft_model, run_compiled, run_onnxruntime

from lepton_ir.diagnostics import LeptonError

RNG = np.random.default_rng(15)
TRANSFORMS = ["NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT"]
DTYPES = [np.float32, np.float64, np.int64, np.int32]
NO_PARAMETERS = [0.0, 0.0, 0.0]


def f32(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def numbers(*shape, scale=1.0):
    return [float(v) for v in (f32(*shape) * np.float32(scale)).ravel()]


def build(op, arrays, version=1, **attributes):
    return microsoft_model(op, arrays, domain="ai.onnx.ml", version=version, **attributes)


def check(op, arrays, **options):
    tolerances = {k: options.pop(k) for k in ("rtol", "atol", "wanted") if k in options}
    return check_compiled(build(op, arrays, **options), arrays, **{"atol": 1e-5, **tolerances})


def scaled(transform):
    """Return the options for a transform: PROBIT takes probabilities, and is coarse in ONNX Runtime."""
    return (0.05, 5e-4) if transform == "PROBIT" else (1.0, 1e-5)


def test_probit():
    """Against the formula in f64, which does not cancel there."""
    scores = np.array([[0.01, 0.3, 0.4999, 0.5, 0.5001, 0.9, 0.999]], np.float32)
    arrays = {"x": scores}
    x = 2 * scores.astype(np.float64) - 1
    log = np.log((1 - x) * (1 + x))
    v = 2 / (np.pi * 0.147) + log / 2
    wanted = np.sqrt(2) * np.sign(x) * np.sqrt(np.sqrt(v * v - log / 0.147) - v)
    eye = [float(i == j) for i in range(7) for j in range(7)]
    options = {"coefficients": eye, "targets": 7, "post_transform": "PROBIT"}
    check("LinearRegressor", arrays, **options, wanted=[wanted.astype(np.float32)], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("targets", [1, 3])
def test_linear_regressor(transform, targets):
    scale, atol = scaled(transform)
    intercepts = [0.5, 0.45, 0.4][:targets]
    options = {"coefficients": numbers(targets, 4, scale=scale), "intercepts": intercepts, "targets": targets}
    check("LinearRegressor", {"x": f32(9, 4)}, post_transform=transform, **options, atol=atol)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("transform", TRANSFORMS)
def test_linear_classifier(transform, dtype):
    scale, atol = scaled(transform)
    options = {"coefficients": numbers(3, 4, scale=scale), "intercepts": [0.5, 0.45, 0.4]}
    x = (2 * f32(9, 4)).astype(dtype)
    check(
        "LinearClassifier", {"x": x}, outputs=2, classlabels_ints=[5, -1, 9], post_transform=transform, **options,
        atol=atol,
    )  # fmt: skip


@pytest.mark.parametrize("transform", TRANSFORMS[:-1])
def test_linear_classifier_of_one_score(transform):
    """It is the second label's."""
    options = {"coefficients": numbers(4), "intercepts": [0.2], "classlabels_ints": [5, 9]}
    check("LinearClassifier", {"x": f32(9, 4)}, outputs=2, post_transform=transform, **options)


KERNELS = {"LINEAR": NO_PARAMETERS, "POLY": [0.5, 1.0, 3.0], "RBF": [0.4, 0.0, 0.0], "SIGMOID": [0.3, 0.1, 0.0]}


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("one_class", [0, 1])
def test_svm_regressor(kernel, one_class):
    check(
        "SVMRegressor", {"x": f32(11, 4)}, coefficients=numbers(5), rho=[0.3], support_vectors=numbers(5, 4),
        n_supports=5, kernel_type=kernel, kernel_params=KERNELS[kernel], one_class=one_class,
    )  # fmt: skip


def test_svm_regressor_without_vectors():
    check("SVMRegressor", {"x": f32(7, 4)}, coefficients=numbers(4), rho=[0.3], kernel_params=NO_PARAMETERS)


def machine(classes, kernel="RBF", scale=1.0):
    per_class = [2, 4, 1, 3][:classes]
    count, pairs = sum(per_class), classes * (classes - 1) // 2
    return {
        "classlabels_ints": [7, 3, 9, 1][:classes], "coefficients": numbers(classes - 1, count, scale=scale),
        "rho": [0.1 - 0.05 * i for i in range(pairs)], "support_vectors": numbers(count, 4),
        "vectors_per_class": per_class, "kernel_type": kernel, "kernel_params": KERNELS[kernel], "outputs": 2,
    }  # fmt: skip


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("classes", [2, 3, 4])
def test_svm_classifier(kernel, classes):
    check("SVMClassifier", {"x": f32(15, 4)}, **machine(classes, kernel), rtol=1e-4)


@pytest.mark.parametrize("transform", TRANSFORMS[:-1])
@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("probabilities", [False, True])
def test_svm_classifier_after_a_transform(transform, classes, probabilities):
    pairs = classes * (classes - 1) // 2
    given = {"prob_a": numbers(pairs), "prob_b": numbers(pairs)} if probabilities else {}
    check("SVMClassifier", {"x": f32(40, 4)}, **machine(classes), **given, post_transform=transform)


@pytest.mark.parametrize("labels", [[5, 6], [5, 6, 9]])
@pytest.mark.parametrize("positive", [False, True])
def test_svm_classifier_without_vectors(labels, positive):
    coefficients = numbers(len(labels), 4)
    coefficients = [abs(c) for c in coefficients] if positive else coefficients
    options = {"classlabels_ints": labels, "kernel_params": NO_PARAMETERS, "rho": [-0.2], "outputs": 2}
    check("SVMClassifier", {"x": f32(30, 4)}, coefficients=coefficients, **options)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("count", [1, 4])
def test_scaler(dtype, count):
    x = (3 * f32(5, 4)).astype(dtype)
    check("Scaler", {"x": x}, offset=[1.0, 2.0, 3.0, 4.0][:count], scale=[0.5, 2.0, 0.25, 1.0][:count])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("norm", ["MAX", "L1", "L2"])
def test_normalizer(dtype, norm):
    x = (3 * f32(5, 4)).astype(dtype)
    x[2] = 0
    x[3] = -abs(x[3])
    check("Normalizer", {"x": x}, norm=norm)


@pytest.mark.parametrize("replaced", [float("nan"), 5.0])
@pytest.mark.parametrize("count", [1, 4])
def test_imputer(replaced, count):
    x = f32(5, 4)
    x[1, 2], x[3, 0], x[3, 1] = replaced, replaced, 7
    check("Imputer", {"x": x}, imputed_value_floats=[1.0, 2.0, 3.0, 4.0][:count], replaced_value_float=replaced)


def test_imputer_of_integers():
    x = RNG.integers(-1, 2, (6, 4))
    check("Imputer", {"x": x}, imputed_value_int64s=[9], replaced_value_int64=-1)


@pytest.mark.parametrize("dtype", DTYPES)
def test_binarizer(dtype):
    x = RNG.integers(-2, 3, (6, 4)).astype(dtype)
    check("Binarizer", {"x": x}, threshold=1.0, wanted=[(x > 1).astype(dtype)])


@pytest.mark.parametrize("dtype", DTYPES[:3])
def test_one_hot_encoder(dtype):
    x = (2 * f32(3, 4)).astype(dtype)
    check("OneHotEncoder", {"x": x}, cats_int64s=[0, 1, -2])


@pytest.mark.parametrize("dtype", DTYPES)
def test_feature_vectorizer(dtype):
    x, z = (2 * f32(3, 4)).astype(dtype), (2 * f32(3, 2)).astype(dtype)
    wide = np.concatenate([x[:, :3], z, np.zeros((3, 1))], 1).astype(np.float32)
    check("FeatureVectorizer", {"x": x, "z": z}, inputdimensions=[4, 2])
    check("FeatureVectorizer", {"x": x, "z": z}, inputdimensions=[3, 3], wanted=[wide])


@pytest.mark.parametrize("shape", [(5, 4), (4,), (2, 3, 4)])
@pytest.mark.parametrize("indices", [[3, 0], [[1]], [[2, 2, 0]]])
def test_array_feature_extractor(shape, indices):
    check("ArrayFeatureExtractor", {"x": f32(*shape), "i": np.array(indices)})


INTS = np.array([[1, 2, 7], [3, 4, 2]], np.int64)


def test_label_encoder():
    check("LabelEncoder", {"x": INTS}, version=2, keys_int64s=[1, 2, 3], values_floats=[0.1, 0.2, 0.3])
    check("LabelEncoder", {"x": INTS}, version=2, keys_int64s=[2, 4], values_int64s=[20, 40], default_int64=5)
    x = np.array([1, np.nan, 3, 4], np.float32)
    keys = [1.0, float("nan"), 3.0]
    check("LabelEncoder", {"x": x}, version=4, keys_floats=keys, values_int64s=[10, 20, 30], default_int64=7)
    check("LabelEncoder", {"x": x}, version=2, keys_floats=keys, values_floats=[1.5, 2.5, 3.5], default_float=-1.0)


@pytest.mark.parametrize("dtypes", [(np.float64, np.float64), (np.int16, np.float32), (np.int32, np.int16)])
def test_label_encoder_of_tensors(dtypes):
    keys, values = np.array([1, 3, 2], dtypes[0]), np.array([5, 6, 7], dtypes[1])
    x = np.array([[3, 1], [2, 9]], dtypes[0])
    other = np.array([4], dtypes[1])
    given = {n: numpy_helper.from_array(a) for n, a in (("keys", keys), ("values", values), ("default", other))}
    wanted = np.array([[6, 5], [7, 4]], dtypes[1])
    check("LabelEncoder", {"x": x}, version=4, **{f"{n}_tensor": t for n, t in given.items()}, wanted=[wanted])


@pytest.mark.parametrize(("version", "wanted"), [(2, 0.2), (4, 0.4)])
def test_repeated_keys(version, wanted):
    """From opset 4 on the last one counts, as the specification says; before, as in ONNX Runtime, the first."""
    proto = build("LabelEncoder", {"x": INTS}, version, keys_int64s=[2, 1, 2], values_floats=[0.2, 0.1, 0.4])
    got = run_compiled(proto, {"x": INTS})[0]
    np.testing.assert_allclose(got[[0, 1], [1, 2]], wanted)
    if version == 2:
        np.testing.assert_allclose(run_onnxruntime(proto, {"x": INTS})[0], got)


@pytest.mark.parametrize(
    ("op", "attributes", "match"),
    [
        ("OneHotEncoder", {"cats_strings": ["a"]}, "needs strings"),
        ("CategoryMapper", {"cats_int64s": [1], "cats_strings": ["a", "b"]}, "1 numbers for 2 strings"),
        ("Normalizer", {"norm": "L3"}, "norm L3 is not known"),
        ("SVMRegressor", {"coefficients": [1.0] * 3, "rho": [0.0], "post_transform": "PROBIT"}, "PROBIT of its score"),
        ("LinearRegressor", {"coefficients": [1.0] * 4}, "4 coefficients are no rows of 3 features"),
    ],
)
def test_refused(op, attributes, match):
    x = INTS if op in ("LabelEncoder", "OneHotEncoder", "CategoryMapper") else f32(2, 3)
    with pytest.raises(LeptonError, match=match):
        run_compiled(build(op, {"x": x}, **attributes), {"x": x})
