"""Machine code for CUDA and ROCm without a GPU; where a toolchain is not installed, the message that says so."""

import struct
from pathlib import Path

import numpy as np
import pytest
import tvm
import tvm_ffi
from gpu_kernels import make_kernel
from lepton_backends.tvm.schedules.gpu import lower_kernel_gpu
from lepton_backends.tvm.schedules.gpu_build import compile_functions
from lepton_backends.tvm.schedules.gpu_device import MODULE_KINDS, replace_cuda_source
from lepton_backends.tvm.schedules.gpu_target import gpu_target
from lepton_backends.tvm.toolchain import check_toolchain, find_cuda

import lepton_ir
from lepton_ir.diagnostics import LeptonError
from lepton_ir.ir import DType, tensor
from lepton_ir.ir.dim import sym
from lepton_ir.ops.conv import pack_weight
from lepton_ir.target import Target

ROOT = Path(__file__).parents[2]
TARGETS = [("cuda", "sm_90"), ("cuda", "sm_80"), ("rocm", "gfx90a"), ("rocm", "gfx1100")]
FATBIN_MAGIC = b"\x50\xed\x55\xba"
N, S = sym("N"), sym("S")


def toolchain_is_missing(kind):
    """Return whether the toolchain is missing, after checking that the message names what to install."""
    try:
        check_toolchain(kind)
    except LeptonError as error:
        text = str(error)
        assert f"compiling for {kind} lacks" in text and "note: " in text
        assert any(hint in text for hint in ("apt-get install", "pip install", "CUDA toolkit"))
        return True
    return False


def families():
    """Return one kernel of each family in ResNet-50 and BERT-base."""
    packed = pack_weight(np.zeros((64, 32, 3, 3), np.float32), 16).shape
    heads = (N, 4, S, 32)
    # Wide enough for the tensor cores' schedule, which cannot take it.
    half = [tensor((N, 128, 14, 14), DType.F16), tensor((128, 128, 3, 3), DType.F16)]
    pool = {"kernel_shape": (3, 3), "strides": (2, 2), "pads": (1, 1, 1, 1), "layout": "NHWC"}

    def conv(b, x, w, bias, other):
        y = b.nn_conv_packed(x, w, bias, channels=64, kernel_shape=(3, 3), panel=16, pads=(1, 1, 1, 1))
        return b.relu(b.add(y, other))

    return {
        "conv": ([(N, 14, 14, 32), packed, (64,), (N, 14, 14, 64)], conv),
        "max_pool": ([(N, 14, 14, 32)], lambda b, x: b.nn_max_pool(x, **pool)),
        "mean": ([(N, 7, 7, 64)], lambda b, x: b.reduce_mean(x, axes=(1, 2))),
        "dense": ([(N, S, 64), (64, 96), (96,)], lambda b, a, w, c: b.gelu(b.add(b.linalg_matmul(a, w), c))),
        "attention": ([heads, heads, heads, (N, 1, 1, S)], lambda b, *qkvm: b.nn_attention(*qkvm, scale=0.2)),
        "layer_norm": ([(N, S, 64), (64,), (64,)], lambda b, x, g, c: b.nn_layer_norm(x, g, c)),
        "gather": ([(50, 64), tensor((N, S), DType.I64)], lambda b, t, i: b.tensor_gather(t, i, axis=0)),
        "half": (half, lambda b, x, w: b.nn_conv(x, w, None, pads=(1, 1, 1, 1))),
    }


def lowered(kind, arch):
    kernels = {name: make_kernel(types, build, name) for name, (types, build) in families().items()}
    return tvm.IRModule({name: lower_kernel_gpu(k, Target(kind, arch=arch), name) for name, k in kernels.items()})


@pytest.mark.parametrize(("kind", "arch"), TARGETS, ids=lambda v: v)
def test_every_family_becomes_machine_code(kind, arch):
    if toolchain_is_missing(kind):
        return
    library, device = compile_functions(lowered(kind, arch), gpu_target(kind, arch))
    compiled = {r.name for r in device.resources}
    assert all(any(name.startswith(f"{family}_kernel") for name in compiled) for family in families())
    assert all(r.spills == 0 and 0 < r.registers <= 255 for r in device.resources), device.table()
    assert all(r.shared_bytes <= 48 * 1024 for r in device.resources), device.table()
    if kind == "cuda":
        assert FATBIN_MAGIC in library and b"tvm_kernels.cu" not in library and b"__global__" not in library
    else:
        assert library.count(b"\x7fELF") == 2 and f"amdgcn-amd-amdhsa-hcc-{arch}".encode() in library


def test_cuda_code_as_the_runtime_receives_it(tmp_path):
    """The loader of TVM's CUDA runtime gets a fatbin and the table of functions; a stand-in reads them here."""
    if toolchain_is_missing("cuda"):
        return
    library, device = compile_functions(lowered("cuda", "sm_90"), gpu_target("cuda", "sm_90"))
    path = tmp_path / "lib.so"
    path.write_bytes(library)
    received = []

    def loader(data):
        received.append(bytes(data))
        return tvm.tirx.build(tvm.IRModule({}), target="llvm")

    name = f"ffi.Module.load_from_bytes.{MODULE_KINDS['cuda']}"
    tvm_ffi.register_global_func(name, loader, override=True)
    try:
        tvm.runtime.load_module(str(path))
    finally:
        tvm_ffi.remove_global_func(name)
    (module,) = received
    (length,) = struct.unpack_from("<Q", module)
    assert module[8 : 8 + length] == b"fatbin"
    code_at = module.index(FATBIN_MAGIC)
    (size,) = struct.unpack_from("<Q", module, code_at - 8)
    assert code_at + size == len(module)
    assert all(r.name.encode() in module[:code_at] for r in device.resources)


@pytest.mark.parametrize("output", ["ptx", "cubin"])
def test_other_forms_of_cuda_code(output):
    if toolchain_is_missing("cuda"):
        return
    source = 'extern "C" __global__ void twice(float* x) { x[threadIdx.x] *= 2; }'
    code, resources = find_cuda().compile(source, "sm_90", output)
    assert (b".target sm_90" in code) if output == "ptx" else code.startswith(b"\x7fELF")
    assert [r.name for r in resources] == (["twice"] if output == "cubin" else [])


def test_what_nvcc_refuses_is_told():
    if toolchain_is_missing("cuda"):
        return
    with pytest.raises(LeptonError, match="nvcc does not compile the kernels for sm_1"):
        find_cuda().compile("__global__ void f() {}", "sm_1")
    with pytest.raises(LeptonError, match="undefined_function"):
        find_cuda().compile("__global__ void f() { undefined_function(); }", "sm_90")


@pytest.mark.parametrize(("kind", "arch"), [("cuda", "sm_90"), ("rocm", "gfx90a")], ids=lambda v: v)
def test_a_network_becomes_an_artifact(kind, arch, capfd):
    model = ROOT / "examples" / "digits" / "digits.onnx"
    if toolchain_is_missing(kind):
        with pytest.raises(LeptonError, match=f"compiling for {kind} lacks"):
            lepton_ir.compile(model, target=kind, arch=arch)
        return
    artifact = lepton_ir.compile(model, target=kind, arch=arch)
    assert artifact.manifest.target["kind"] == kind and artifact.manifest.target["arch"] == arch
    assert (FATBIN_MAGIC if kind == "cuda" else b"amdgcn-amd-amdhsa") in artifact.library
    assert "Warning" not in capfd.readouterr().err


def test_only_the_given_cuda_module_is_replaced():
    def string(data):
        return struct.pack("<Q", len(data)) + data

    functions = b"a table"
    source, other = b"the source", b"another source"
    modules = [string(string(b"cuda") + functions + string(text)) for text in (other, source)]
    blob = string(b"tree" + string(b"_lib") + b"".join(string(b"cuda") + module for module in modules))
    changed = replace_cuda_source(blob, source, b"code")
    expected = string(string(b"fatbin") + functions + string(b"code"))
    assert changed == string(b"tree" + string(b"_lib") + string(b"cuda") + modules[0] + string(b"cuda") + expected)
