"""What a branch or a loop on data makes for itself and changes is nobody's business outside of it."""

import pytest
import torch
from test_torch_export import check as check_exported
from torch import Tensor, nn
from torch_checks import check


class OwnTensors(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        y = x
        if bool(x.sum() > 0):
            z = x.clone()
            z.add_(1)
            z[0] = 5
            y = z
        else:
            w = torch.zeros_like(x)
            w.sub_(3)
            y = w * x
        return y


class OwnLists(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        found: list[Tensor] = [x]
        if bool(x.sum() > 0):
            parts: list[Tensor] = []
            for i in range(3):
                parts.append(x * i)
            y = torch.stack(parts).sum(0)
        else:
            y = -x
        found.append(y)
        return torch.cat(found)


class OwnInLoop(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        total = torch.zeros_like(x)
        while bool(total.sum() < 20):
            step = x.abs().clone()
            step.add_(1)
            sizes: list[int] = []
            sizes.append(2)
            total = total + step * sizes[0]
        return total


class SetAnew(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        total, pair = torch.zeros_like(x), [1, 2]
        while bool(total.sum() < 20):
            pair = [3, len(pair) + 1] if total.dim() > 5 else [4, 1]
            total = total + x.abs() * pair[0]
        return total


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("model", [OwnTensors, OwnLists, OwnInLoop, SetAnew])
@pytest.mark.parametrize("compiled", [False, True])
def test_torchscript(tmp_path, model, sign, compiled):
    check(torch.jit.script(model()), tmp_path, sign * (torch.rand(3) + 0.1), compiled=compiled)


class Exported(nn.Module):
    def forward(self, x):
        def grown(t):
            u = t.clone()
            u.add_(1)
            return u

        return torch.cond(x.sum() > 0, grown, lambda t: t * 2, (x,))


def test_torch_export(tmp_path):
    check_exported(Exported(), tmp_path, (torch.ones(3),), [(-torch.ones(3),)])
