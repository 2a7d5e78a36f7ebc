"""Finding GPU toolchains: everything that is missing, in one message."""

import sys
from pathlib import Path

import pytest
from lepton_backends.tvm import toolchain

from lepton_ir.diagnostics import LeptonError

VARIABLES = ("LEPTON_NVCC", "CUDA_HOME", "CUDA_PATH", "LEPTON_ROCM_BITCODE", "LEPTON_ROCM_LLD", "ROCM_PATH")


@pytest.fixture
def bare(monkeypatch, tmp_path):
    """A machine without any of it; the folder is the only one on the PATH."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("ROCM_PATH", str(tmp_path / "rocm"))
    monkeypatch.setattr(toolchain, "CUDA_FOLDERS", ())
    monkeypatch.setattr(toolchain, "BITCODE_FOLDERS", ())
    monkeypatch.setattr(sys, "path", [p for p in sys.path if not Path(p, "nvidia").exists()])
    monkeypatch.setattr(toolchain.importlib.util, "find_spec", lambda name: None)
    return tmp_path


def program(path, text="#!/bin/sh\n"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def bitcode(folder, *names):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / f"{name}.bc").touch()
    return folder


def test_cuda_names_all_that_is_missing(bare):
    with pytest.raises(LeptonError) as caught:
        toolchain.find_cuda()
    text = str(caught.value)
    assert "compiling for cuda lacks 2 things" in text
    assert "nvcc" in text and "LEPTON_NVCC" in text and "apt-get install g++" in text


def test_rocm_names_all_that_is_missing(bare):
    with pytest.raises(LeptonError) as caught:
        toolchain.find_rocm()
    text = str(caught.value)
    assert "compiling for rocm lacks 2 things" in text
    assert "apt-get install rocm-device-libs" in text and "LEPTON_ROCM_BITCODE" in text
    assert "pip install 'lepton-ir[rocm]'" in text and "LEPTON_ROCM_LLD" in text


def test_a_linker_that_is_too_old_is_named(bare):
    program(bare / "ld.lld", "#!/bin/sh\necho 'Debian LLD 14.0.6 (compatible with GNU linkers)'\n")
    bitcode(bare / "rocm" / "amdgcn" / "bitcode", "ocml")
    with pytest.raises(LeptonError) as caught:
        toolchain.find_rocm()
    text = str(caught.value)
    assert "lacks 1 thing " in text and "ld.lld 14" in text and "too old" in text


def test_rocm_installation_is_found(bare):
    program(bare / "rocm" / "llvm" / "bin" / "ld.lld", "#!/bin/sh\necho 'LLD 99.1.0'\n")
    folder = bitcode(bare / "rocm" / "amdgcn" / "bitcode", "ocml", "oclc_isa_version_900", "oclc_isa_version_90a")
    found = toolchain.find_rocm()
    assert found.bitcode == folder and found.linker == (str(bare / "rocm" / "llvm" / "bin" / "ld.lld"),)


def test_given_paths_come_first(bare, monkeypatch):
    program(bare / "c++")
    program(bare / "nvcc")
    mine = program(bare / "mine" / "nvcc")
    monkeypatch.setenv("LEPTON_NVCC", str(mine))
    assert toolchain.find_cuda().nvcc == str(mine)
    monkeypatch.delenv("LEPTON_NVCC")
    home = program(bare / "home" / "bin" / "nvcc")
    monkeypatch.setenv("CUDA_HOME", str(bare / "home"))
    assert toolchain.find_cuda().nvcc == str(home)
    monkeypatch.delenv("CUDA_HOME")
    assert toolchain.find_cuda().nvcc == str(bare / "nvcc")


@pytest.mark.parametrize(
    ("arch", "isa"),
    [("gfx90a", "90a"), ("gfx942", "940"), ("gfx1100", "1030"), ("gfx906", "906"), ("gfx90a:xnack-", "90a")],
)
def test_bitcode_of_the_nearest_older_isa(tmp_path, arch, isa):
    known = [f"oclc_isa_version_{n}" for n in ("803", "900", "906", "90a", "940", "1010", "1030")]
    folder = bitcode(tmp_path, "ocml", "oclc_wavefrontsize64_on", "oclc_wavefrontsize64_off", *known)
    names = [Path(p).stem for p in toolchain.RocmToolchain(folder).bitcode_files(arch)]
    wave = "off" if arch == "gfx1100" else "on"
    assert names == ["ocml", f"oclc_wavefrontsize64_{wave}", f"oclc_isa_version_{isa}"]


def test_what_ptxas_reports_is_read():
    log = """
ptxas info    : Compiling entry function 'first_kernel' for 'sm_90'
ptxas info    : Function properties for first_kernel
    8 bytes stack frame, 4 bytes spill stores, 4 bytes spill loads
ptxas info    : Used 72 registers, used 1 barriers, 7040 bytes smem
ptxas info    : Compiling entry function 'second_kernel' for 'sm_90'
ptxas info    : Function properties for second_kernel
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 16 registers, used 0 barriers
"""
    assert toolchain.parse_ptxas(log) == [
        toolchain.KernelResources("first_kernel", 72, 4, 7040),
        toolchain.KernelResources("second_kernel", 16, 0, 0),
    ]
