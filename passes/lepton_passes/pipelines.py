"""The standard pipelines, as text."""

from __future__ import annotations

from lepton_ir.passes import register_pipeline

SIMPLIFY = register_pipeline("simplify", "canonicalize,constant-fold,cse,simplify-transposes,dce")
KERNELS = register_pipeline("kernels", "fuse,outline")

O0 = register_pipeline("O0", "dce,decompose,kernels")
O1 = register_pipeline("O1", "simplify,fold-batch-norm,fuse-conv-bias,decompose,simplify,prepack-weights,dce,kernels")
O2 = register_pipeline(
    "O2",
    "simplify,fold-batch-norm,fuse-conv-bias,decompose,simplify,layout,simplify,prepack-weights,dce,kernels",
)
O3 = register_pipeline("O3", O2)
