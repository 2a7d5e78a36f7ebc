"""Functions that numpy lacks: erf, sigmoid, softplus."""

from __future__ import annotations

import numpy as np

from lepton_ir.ops.support import Array

# The rational approximations of fdlibm's s_erf.c, error below one unit in the last place of f64.
_PP = (1.28379167095512558561e-01, -3.25042107247001499370e-01, -2.84817495755985104766e-02,
       -5.77027029648944159157e-03, -2.37630166566501626084e-05)  # fmt: skip
_QQ = (1.0, 3.97917223959155352819e-01, 6.50222499887672944485e-02, 5.08130628187576562776e-03,
       1.32494738004321644526e-04, -3.96022827877536812320e-06)  # fmt: skip
_PA = (-2.36211856075265944077e-03, 4.14856118683748331666e-01, -3.72207876035701323847e-01,
       3.18346619901161753674e-01, -1.10894694282396677476e-01, 3.54783043256182359371e-02,
       -2.16637559486879084300e-03)  # fmt: skip
_QA = (1.0, 1.06420880400844228286e-01, 5.40397917702171048937e-01, 7.18286544141962662868e-02,
       1.26171219808761642112e-01, 1.36370839120290507362e-02, 1.19844998467991074170e-02)  # fmt: skip
_RA = (-9.86494403484714822705e-03, -6.93858572707181764372e-01, -1.05586262253232909814e01,
       -6.23753324503260060396e01, -1.62396669462573470355e02, -1.84605092906711035994e02,
       -8.12874355063065934246e01, -9.81432934416914548592e00)  # fmt: skip
_SA = (1.0, 1.96512716674392571292e01, 1.37657754143519042600e02, 4.34565877475229228821e02,
       6.45387271733267880336e02, 4.29008140027567833386e02, 1.08635005541779435134e02,
       6.57024977031928170135e00, -6.04244152148580987438e-02)  # fmt: skip
_RB = (-9.86494292470009928597e-03, -7.99283237680523006574e-01, -1.77579549177547519889e01,
       -1.60636384855821916062e02, -6.37566443368389627722e02, -1.02509513161107724954e03,
       -4.83519191608651397019e02)  # fmt: skip
_SB = (1.0, 3.03380607434824582924e01, 3.25792512996573918826e02, 1.53672958608443695994e03,
       3.19985821950859553908e03, 2.55305040643316442583e03, 4.74528541206955367215e02,
       -2.24409524465858183362e01)  # fmt: skip
_ERX = 8.45062911510467529297e-01


def _ratio(p: tuple[float, ...], q: tuple[float, ...], x: Array) -> Array:
    return np.asarray(np.polynomial.polynomial.polyval(x, p) / np.polynomial.polynomial.polyval(x, q))


def erf(x: Array) -> Array:
    """Return the error function, computed in f64."""
    x64 = np.asarray(x, dtype=np.float64)
    flat = np.atleast_1d(x64)
    a = np.abs(flat)
    out = np.where(np.isnan(flat), flat, np.sign(flat))
    small, middle, large = a < 0.84375, (a >= 0.84375) & (a < 1.25), (a >= 1.25) & (a < 6)
    s = flat[small]
    out[small] = s + s * _ratio(_PP, _QQ, s * s)
    out[middle] = np.sign(flat[middle]) * (_ERX + _ratio(_PA, _QA, a[middle] - 1))
    t = a[large]
    u = 1 / (t * t)
    tail = np.where(t < 1 / 0.35, _ratio(_RA, _SA, u), _ratio(_RB, _SB, u))
    out[large] = np.sign(flat[large]) * (1 - np.exp(-t * t - 0.5625 + tail) / t)
    return out.reshape(x64.shape).astype(np.asarray(x).dtype)


def sigmoid(x: Array) -> Array:
    """Return 1 / (1 + exp(-x)) without overflow."""
    e = np.exp(-np.abs(x))
    return np.asarray(np.where(x >= 0, 1 / (1 + e), e / (1 + e)))


def softplus(x: Array) -> Array:
    """Return log(1 + exp(x)) without overflow."""
    return np.asarray(np.logaddexp(x, np.zeros((), x.dtype)))
