"""The passes that lower CPU kernels, from the templates' loops to what TVM's LLVM code generator takes."""

from __future__ import annotations

import functools
from typing import Any

import tvm
from tvm import s_tir, tirx

CPU_PIPELINE = "lepton-cpu"


@functools.cache
def register_cpu_pipeline() -> str:
    """Make the pipeline known to TVM and return its name.

    It is TVM's default without the passes for blocks, which the templates do not use: one of them, the compaction of
    buffers, analyses every access of every scratch buffer, and takes ten seconds for a convolution with symbolic sizes.
    """
    tirx.compilation_pipeline.PIPELINE_MAP[CPU_PIPELINE] = _cpu_pipeline
    return CPU_PIPELINE


def _cpu_pipeline() -> tuple[Any, Any, Any]:
    @tvm.transform.module_pass(opt_level=0)  # type: ignore[untyped-decorator]
    def lower(module: tvm.ir.IRModule, _: Any) -> tvm.ir.IRModule:
        to = tirx.transform
        passes = [
            to.StmtSimplify(),
            to.FlattenBuffer(),
            to.BF16ComputeLegalize(),
            to.NarrowDataType(32),
            to.VectorizeLoop(True),
            to.StorageRewrite(),
            to.UnrollLoop(),
            to.StmtSimplify(),
            to.RemoveNoOp(),
            s_tir.transform.RewriteUnsafeSelect(),
            to.CommonSubexprElim(),
            to.FP8ComputeLegalize(),
            to.VerifyMemory(),
            to.AnnotateEntryFunc(),
            to.SplitHostDevice(),
            to.MakePackedAPI(),
            to.FP8StorageLegalize(),
            to.BF16StorageLegalize(),
        ]
        return tvm.ir.transform.Sequential(passes)(module)

    _, finalize_host, finalize_device = tirx.get_tir_pipeline("default")
    return lower, finalize_host, finalize_device
