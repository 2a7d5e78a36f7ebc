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

O0 = register_pipeline("O0", "decompose,layout,prepack-weights,dce,fuse{max-ops=1},outline")
"""Only what it takes to get machine code: every operation is a kernel of its own."""

O1 = register_pipeline("O1", "simplify,decompose,simplify,layout,prepack-weights,dce,fuse,outline")
"""Clean up and fuse."""

O2 = register_pipeline(
    "O2",
    "simplify,recognize,fold-weights,decompose,sink-concat,simplify,layout,simplify,prepack-weights,dce,fuse,outline",
)
"""Also recognize composite operators, and fold arithmetic into weights."""

O3 = register_pipeline(
    "O3",
    "repeat{pipeline={simplify,recognize,fold-weights} times=3},decompose,sink-concat,simplify,layout,simplify,"
    "prepack-weights,dce,fuse,outline",
)
"""Also repeat that until nothing changes."""
