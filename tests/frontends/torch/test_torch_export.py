"""Archives of torch.export, and modules given as they are, against PyTorch."""

import numpy as np
import pytest
import torch
from torch import nn
from torch_checks import compare, tensors

from lepton_ir.diagnostics import LeptonError
from lepton_ir.frontend import from_torch, load_model
from lepton_ir.interp import run


def exported(module, folder, args, dynamic_shapes=None, **options):
    """Export a module, save it, and read the file."""
    path = folder / "model.pt2"
    torch.export.save(torch.export.export(module, args, dynamic_shapes=dynamic_shapes), path)
    return load_model(path, **options)


def check(module, folder, args, others=(), dynamic_shapes=None, compiled=False):
    """Compare what Lepton and PyTorch compute for the arguments, and for others of the same ranks."""
    lepton = exported(module, folder, args, dynamic_shapes)
    for given in (args, *others):
        with torch.no_grad():
            wanted = tensors(module(*given))
        compare(lepton, tensors(given), wanted, compiled)
    return lepton


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.convs = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(inplace=True))
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        y = self.convs(x)
        return self.head(y.mean((2, 3))), y[:, :2]


def test_a_network_with_a_dynamic_batch(tmp_path):
    n = torch.export.Dim("N", min=1, max=64)
    module = Network().eval()
    others = [(torch.randn(k, 3, 6, 6),) for k in (1, 5)]
    lepton = check(module, tmp_path, (torch.randn(2, 3, 6, 6),), others, ({0: n},))
    assert len(lepton.main.arguments[0].type.symbols()) == 1


class Nested(nn.Module):
    def forward(self, pair, table, scale: int):
        a, b = pair
        return {"sum": (a + b) * scale, "more": [table["x"] - a, a.shape[0]]}


def test_nested_inputs_and_outputs(tmp_path):
    args = ((torch.randn(3), torch.randn(3)), {"x": torch.randn(3)}, 4)
    lepton = exported(Nested(), tmp_path, args)
    feeds = [args[0][0], args[0][1], args[1]["x"]]
    compare(lepton, [f.numpy() for f in feeds], tensors(Nested()(*args)))


class Buffers(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("total", torch.zeros(3))

    def forward(self, x):
        self.total.add_(x.sum(0))
        return self.total * 2


def test_buffers_that_change_are_inputs_and_outputs(tmp_path):
    lepton = exported(Buffers(), tmp_path, (torch.ones(2, 3),))
    assert [a.name for a in lepton.main.arguments] == ["x", "total"]
    assert lepton.main.result_names[1] == "total.next"
    module, state = Buffers(), np.zeros(3, np.float32)
    for _ in range(3):
        x = torch.randn(2, 3)
        found, state = run(lepton, {"x": x.numpy(), "total": state})
        np.testing.assert_allclose(found, module(x).numpy(), rtol=1e-6)


class Conditional(nn.Module):
    def forward(self, x):
        return torch.cond(x.sum() > 0, lambda t: (t + 1, t.sum()), lambda t: (t * 2, t.max()), (x,))


@pytest.mark.parametrize("compiled", [False, True])
def test_cond(tmp_path, compiled):
    check(Conditional(), tmp_path, (torch.ones(4),), [(-torch.rand(4),)], compiled=compiled)


class WhileLoop(nn.Module):
    def forward(self, x, limit):
        from torch._higher_order_ops.while_loop import while_loop

        def go_on(i, y):
            return y.sum() < limit

        def body(i, y):
            return i + 1, y * 1.5

        return while_loop(go_on, body, (torch.tensor(0), x))


@pytest.mark.parametrize("compiled", [False, True])
def test_while_loop(tmp_path, compiled):
    args = (torch.ones(3), torch.tensor(40.0))
    lepton = exported(WhileLoop(), tmp_path, args)
    compare(lepton, tensors(args), tensors(WhileLoop()(*args)), compiled)


class Modes(nn.Module):
    def forward(self, x, y):
        with torch.no_grad(), torch.autocast("cpu", enabled=False):
            z = x.unsqueeze(1) * y.unsqueeze(0)
        return z.sum(0) - x


def test_modes_of_gradients_and_precision(tmp_path):
    check(Modes(), tmp_path, (torch.randn(3), torch.randn(3)))


class InPlace(nn.Module):
    def forward(self, x):
        y = x.clone()
        y[:, 0] = 2
        y[1] += 5
        y.view(-1)[3] = -1
        return y, y.t().contiguous()


def test_writes_in_place(tmp_path):
    check(InPlace(), tmp_path, (torch.randn(3, 4),))


def test_a_module_as_it_is():
    module, x = Network().eval(), torch.randn(1, 3, 6, 6)
    with torch.no_grad():
        compare(from_torch(module, (x,)), [x.numpy()], tensors(module(x)))


def test_sizes_beyond_the_exported_range_are_refused(tmp_path):
    n = torch.export.Dim("N", min=2, max=8)
    lepton = exported(Network().eval(), tmp_path, (torch.randn(4, 3, 6, 6),), ({0: n},))
    with pytest.raises(LeptonError):
        run(lepton, [np.zeros((9, 3, 6, 6), np.float32)])


class Checked(nn.Module):
    def forward(self, x, count):
        n = count.item()
        torch._check(n >= 2)
        torch._check(n <= x.shape[0])
        return x[:n] * 2


def test_what_the_program_asserts_is_checked(tmp_path):
    x = torch.randn(6)
    lepton = exported(Checked(), tmp_path, (x, torch.tensor(3)))
    compare(lepton, [x.numpy(), np.array(4)], [2 * x[:4].numpy()])
    for wrong in (1, 7):
        with pytest.raises(LeptonError):
            run(lepton, [x.numpy(), np.array(wrong)])


class Unknown(nn.Module):
    def forward(self, x):
        return torch.linalg.eigvalsh(x).sum() + torch.special.bessel_j0(x).sum()


def test_unknown_operators_are_reported_at_once_with_the_python_line(tmp_path):
    with pytest.raises(LeptonError) as error:
        exported(Unknown(), tmp_path, (torch.randn(3, 3),))
    found = error.value.diagnostics
    assert len(found) == 2 and all(d.where.file == __file__ and d.where.line > 0 for d in found)
