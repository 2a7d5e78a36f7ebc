"""The standard pipelines, as text."""

from __future__ import annotations

from lepton_ir.passes import register_pipeline

SIMPLIFY = register_pipeline(
    "simplify",
    "canonicalize,simplify-shapes,simplify-arithmetic,constant-fold,cse,simplify-indexing,simplify-transposes,dce",
)
"""What every level but the lowest does between other passes."""

FOLD_WEIGHTS = register_pipeline("fold-weights", "fold-batch-norm,fuse-conv-bias")
RECOGNIZE = register_pipeline(
    "recognize",
    "recognize-softmax,recognize-norms,recognize-gelu,recognize-silu,recognize-hard-swish,recognize-attention",
)
KERNELS = register_pipeline("kernels", "fuse,outline")

O0 = register_pipeline("O0", "dce,decompose,kernels")
O1 = register_pipeline("O1", "simplify,fold-weights,decompose,simplify,prepack-weights,dce,kernels")
O2 = register_pipeline(
    "O2", "simplify,recognize,fold-weights,decompose,simplify,layout,simplify,prepack-weights,dce,kernels"
)
O3 = register_pipeline(
    "O3",
    "repeat{pipeline={simplify,recognize,fold-weights} times=3},decompose,simplify,layout,simplify,prepack-weights,"
    "dce,kernels",
)
