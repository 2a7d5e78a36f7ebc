"""Scripted and traced modules: control flow, containers, state, in-place writes, against PyTorch."""

from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch_checks import check, compare, imported

from lepton_ir.diagnostics import LeptonError
from lepton_ir.frontend import load_model
from lepton_ir.interp import run


class Branches(nn.Module):
    def __init__(self, double: bool):
        super().__init__()
        self.double = double
        self.linear = nn.Linear(4, 3)

    def forward(self, x: Tensor, how: int = 1) -> Tensor:
        if self.double:
            x = x * 2
        if how == 0:
            return x
        elif how > 5:
            raise ValueError("how is too large")
        assert x.dim() == 2, "x must be a matrix"
        y = self.linear(x)
        for i in range(how):
            y = y + i
        return y


@pytest.mark.parametrize("double", [True, False])
@pytest.mark.parametrize("how", [0, 1, 3])
def test_branches_on_what_is_known(tmp_path, double, how):
    check(torch.jit.script(Branches(double)), tmp_path, torch.randn(2, 4), how)


def test_what_the_model_raises_is_an_error(tmp_path):
    with pytest.raises(LeptonError, match="how is too large") as error:
        imported(torch.jit.script(Branches(False)), tmp_path, torch.randn(2, 4), 9)
    assert error.value.diagnostics[0].where.line > 0
    with pytest.raises(LeptonError, match="x must be a matrix"):
        imported(torch.jit.script(Branches(False)), tmp_path, torch.randn(4), 1)


class ByData(nn.Module):
    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, int]:
        count = 1
        if bool(x.sum() > 0):
            y = y + x
            count = 2
        else:
            z = x * 3
            y = y - z
        if bool(y.max() > 1000):
            raise ValueError("too large")
        return y * 2, count


@pytest.mark.parametrize("compiled", [False, True])
def test_branches_on_data(tmp_path, compiled):
    module = torch.jit.script(ByData())
    for x in (torch.ones(3), -torch.ones(3)):
        check(module, tmp_path, x, torch.randn(3), compiled=compiled)


class Loops(nn.Module):
    def forward(self, x: Tensor, limit: Tensor) -> tuple[Tensor, Tensor, int]:
        total = torch.zeros_like(x)
        steps = 0
        while bool(total.sum() < limit):
            total = total + x
            steps += 1
        n = int(limit.item()) // 10
        for i in range(n):
            x = x * 1.5 + i
        return total, x, steps


@pytest.mark.parametrize("compiled", [False, True])
def test_loops_on_data(tmp_path, compiled):
    check(torch.jit.script(Loops()), tmp_path, torch.rand(4) + 0.5, torch.tensor(37.0), compiled=compiled)


class Pair(NamedTuple):
    left: Tensor
    right: Tensor


class Containers(nn.Module):
    def __init__(self):
        super().__init__()
        self.sizes: list[int] = [3, 1]
        self.names: dict[str, int] = {"a": 2, "b": 5}

    def forward(self, xs: list[Tensor], pair: tuple[Tensor, Tensor], more: Tensor | None = None):
        found: list[Tensor] = []
        for i, x in enumerate(xs):
            found.append(x * (i + 1))
        found.extend([pair[0], pair[1]])
        last = found.pop()
        table: dict[str, Tensor] = {"first": found[0]}
        for name, value in self.names.items():
            table[name] = found[0] + value
        if more is not None:
            table["more"] = more
        both = Pair(last, found[-1])
        text = "{} of {}".format(len(found), "many")
        assert text == "3 of many"
        zipped = [a + b for a, b in zip(found[:2], found[1:])]  # noqa: B905, RUF007 - TorchScript knows no strict
        parts = torch.split(found[0], self.sizes)
        return torch.cat(zipped), table, both.left - both.right, parts[1], len(found)


def test_containers(tmp_path):
    xs = [torch.randn(4), torch.randn(4)]
    check(torch.jit.script(Containers()), tmp_path, xs, (torch.randn(4), torch.randn(4)))
    check(torch.jit.script(Containers()), tmp_path, xs, (torch.randn(4), torch.randn(4)), torch.randn(2))


class InPlace(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        y = x.clone()
        row = y[1]
        row += 10
        y[:, 0] = 7
        view = y.view(-1)
        view[2] = -1
        other = y.transpose(0, 1)
        other.mul_(2)
        y[0, 1:3].zero_()
        z = y.unsqueeze(0).expand(2, 3, 4).clone()
        z[1].fill_(4)
        return y, row, z


def test_writes_through_views(tmp_path):
    check(torch.jit.script(InPlace()), tmp_path, torch.randn(3, 4))


class WritesInBranch(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        y = x.clone()
        part = y[0]
        if bool(x.sum() > 0):
            part.add_(1)
        else:
            y[1] = 0
        return y + part


@pytest.mark.parametrize("sign", [1, -1])
def test_writes_in_branches(tmp_path, sign):
    check(torch.jit.script(WritesInBranch()), tmp_path, sign * torch.rand(2, 3))


class Counter(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("total", torch.zeros(3))
        self.last: int | None = None
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.total += x
        self.calls += 1
        return self.total * self.calls


def test_state_becomes_inputs_and_outputs(tmp_path):
    module = torch.jit.script(Counter())
    lepton = imported(module, tmp_path, torch.ones(3))
    assert {a.name for a in lepton.main.arguments} == {"x", "total", "calls"}
    assert set(lepton.main.result_names) == {"output", "total.next", "calls.next"}
    names = [a.name for a in lepton.main.arguments]
    state = {"total": np.zeros(3, np.float32), "calls": np.array(0)}
    for _ in range(4):
        x = torch.randn(3)
        found = dict(zip(lepton.main.result_names, run(lepton, {**state, "x": x.numpy()}), strict=True))
        np.testing.assert_allclose(found["output"], module(x).numpy(), rtol=1e-6)
        state = {n: found[f"{n}.next"] for n in names if n != "x"}


class Remembers(nn.Module):
    """Its state has another shape before the first call."""

    def __init__(self):
        super().__init__()
        self.state = torch.zeros(0)
        self.cell = nn.GRUCell(3, 5)

    def forward(self, x: Tensor) -> Tensor:
        if self.state.numel() == 0:
            self.state = torch.zeros(x.shape[0], 5)
        self.state = self.cell(x, self.state)
        return self.state.sum(1)


def test_state_that_gets_its_shape_in_the_first_call(tmp_path):
    module = torch.jit.script(Remembers())
    lepton = imported(module, tmp_path, torch.ones(2, 3))
    state = np.zeros((2, 5), np.float32)
    for _ in range(3):
        x = torch.randn(2, 3)
        with torch.no_grad():
            wanted = module(x).numpy()
        found = run(lepton, {"x": x.numpy(), "state": state})
        np.testing.assert_allclose(found[0], wanted, rtol=1e-5, atol=1e-6)
        state = found[1]


class Numbers(nn.Module):
    def forward(self, x: Tensor, n: int, flag: bool, scale: float) -> Tensor:
        y = x * n + scale
        if flag:
            y = -y
        return y[: n // 2 + 1] / max(n, 3)


def test_numbers_of_the_run_are_inputs(tmp_path):
    module = torch.jit.script(Numbers())
    lepton = imported(module, tmp_path, inputs=["x:8:f32", "n:i64", "flag:bool", "scale:f64"])
    for n, flag in ((3, True), (6, False)):
        x = torch.randn(8)
        found = run(lepton, {"x": x.numpy(), "n": np.array(n), "flag": np.array(flag), "scale": np.array(0.25)})
        np.testing.assert_allclose(found[0], module(x, n, flag, 0.25).numpy(), rtol=1e-6)


class Shapes(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        n, c = x.shape[0], x.size(1)
        y = x.reshape(n, c // 2, 2).sum(-1)
        if n > 0 and y.dim() == 2:
            y = torch.cat([y, torch.zeros(n, 1)], dim=1)
        return y.view(-1)[: n * 2]


def test_named_sizes(tmp_path):
    module = torch.jit.script(Shapes())
    lepton = imported(module, tmp_path, inputs=["x:Nx6:f32"])
    for n in (1, 2, 5):
        x = torch.randn(n, 6)
        compare(lepton, [x.numpy()], [module(x).numpy()])


class Calls(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)])
        self.last = nn.Sequential(nn.ReLU(), nn.Linear(4, 2), nn.Dropout(0.5))

    @torch.jit.export
    def helper(self, x: Tensor, times: int = 2) -> Tensor:
        for _ in range(times):
            x = torch.tanh(x)
        return x

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = self.helper(block(x), times=3)
        return self.last(x)


@pytest.mark.parametrize("how", ["script", "frozen", "trace", "optimized"])
def test_modules_and_methods(tmp_path, how):
    module, x = Calls().eval(), torch.randn(3, 4)
    made = torch.jit.trace(module, x) if how == "trace" else torch.jit.script(module)
    if how == "frozen":
        made = torch.jit.freeze(made)
    if how == "optimized":
        made = torch.jit.optimize_for_inference(torch.jit.script(module))
    check(made, tmp_path, x)


def test_inputs_that_were_traced_are_known(tmp_path):
    made = torch.jit.trace(Calls().eval(), torch.randn(3, 4))
    assert str(imported(made, tmp_path, inputs=[]).main.arguments[0].type) == "tensor<3x4xf32>"


def test_what_is_missing_is_said(tmp_path):
    made = torch.jit.script(Branches(True))
    with pytest.raises(LeptonError, match=r"--input 'x:1x3x224x224:f32'"):
        imported(made, tmp_path, inputs=[])
    with pytest.raises(LeptonError, match="no input z"):
        imported(made, tmp_path, inputs=["z:1:f32"])
    with pytest.raises(LeptonError, match="is int, and is given as"):
        imported(made, tmp_path, inputs=["x:2x4:f32", "how:3:f32"])


class Unknown(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        y = torch.linalg.eigvalsh(x)
        z = torch.linalg.pinv(x)
        return y.sum() + z.sum() + torch.special.bessel_j0(x).sum()


def test_unknown_operators_are_reported_at_once_with_the_python_line(tmp_path):
    with pytest.raises(LeptonError) as error:
        imported(torch.jit.script(Unknown()), tmp_path, torch.randn(3, 3))
    found = error.value.diagnostics
    assert len(found) == 3
    assert all(d.where.file == __file__ and d.where.line > 0 for d in found)
    assert len({d.where.line for d in found}) == 3


def test_saved_for_mobile(tmp_path):
    made = torch.jit.script(Calls().eval())
    path = tmp_path / "model.ptl"
    made._save_for_lite_interpreter(str(path))
    x = torch.randn(3, 4)
    with torch.no_grad():
        compare(load_model(path, inputs=["x:3x4:f32"]), [x.numpy()], [made(x).numpy()])
