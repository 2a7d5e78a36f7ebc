"""Quantized modules, with weights packed in custom classes, to the last step of the quantization."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.ao import quantization
from torch_checks import imported

from lepton_ir.interp import run


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.quant, self.dequant = quantization.QuantStub(), quantization.DeQuantStub()
        self.conv, self.relu = nn.Conv2d(3, 8, 3, padding=1, stride=2), nn.ReLU()
        self.other = nn.Conv2d(8, 8, 1, groups=2)
        self.linear = nn.Linear(8, 4)
        self.sum = torch.ao.nn.quantized.FloatFunctional()

    def forward(self, x):
        x = self.relu(self.conv(self.quant(x)))
        x = self.sum.add(x, self.other(x))
        return self.dequant(self.linear(x.mean([2, 3])))


def quantized(engine):
    torch.backends.quantized.engine = engine
    torch.manual_seed(3)
    model = Network().eval()
    model.qconfig = quantization.get_default_qconfig(engine)
    model = quantization.fuse_modules(model, [["conv", "relu"]])
    prepared = quantization.prepare(model)
    for _ in range(4):
        prepared(torch.randn(2, 3, 8, 8))
    return quantization.convert(prepared)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("how", ["trace", "script", "freeze"])
@pytest.mark.parametrize(
    "engine", [e for e in ("fbgemm", "qnnpack") if e in torch.backends.quantized.supported_engines]
)
def test_quantized_modules(tmp_path, how, engine):
    model, x = quantized(engine), torch.randn(2, 3, 8, 8)
    made = torch.jit.trace(model, x) if how == "trace" else torch.jit.script(model)
    if how == "freeze":
        made = torch.jit.freeze(made)
    lepton = imported(made, tmp_path, inputs=["x:2x3x8x8:f32"])
    (found,) = run(lepton, [x.numpy()])
    wanted = made(x).numpy()
    step = np.diff(np.unique(wanted)).min()
    assert np.abs(found - wanted).max() <= 1.001 * step
    assert (found == wanted).mean() > 0.7
