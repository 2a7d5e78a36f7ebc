"""Train the small network that comes with Lepton, on scikit-learn's handwritten digits.

    pip install torch==2.13.0 scikit-learn onnx onnxscript
    python examples/digits/train.py

Writes digits.onnx (named batch dimension N), test.npz (the images of the held-out fifth) and labels.npz. The result
of running it is part of the repository, so nobody has to.
"""

from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

HERE = Path(__file__).parent
EPOCHS = 40


class Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(x + self.body(x))


class GlobalAverage(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean((2, 3))


def network() -> nn.Module:
    """Return a residual network for 8x8 grey images, about 44,000 parameters."""
    return nn.Sequential(
        nn.Conv2d(1, 24, 3, padding=1, bias=False),
        nn.BatchNorm2d(24),
        nn.ReLU(),
        Residual(24),
        nn.Conv2d(24, 40, 3, stride=2, padding=1),
        nn.ReLU6(),
        Residual(40),
        GlobalAverage(),
        nn.Dropout(0.2),
        nn.Linear(40, 10),
    )


def main() -> None:
    torch.manual_seed(0)
    digits = load_digits()
    images = (digits.images / 16.0).astype(np.float32)[:, None]
    split = train_test_split(images, digits.target, test_size=0.2, random_state=0, stratify=digits.target)
    train_x, test_x, train_y, test_y = split
    model = network()
    loader = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(torch.from_numpy(train_x), torch.from_numpy(train_y)), 64, shuffle=True
    )
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, epochs=EPOCHS, steps_per_epoch=len(loader))
    for _ in range(EPOCHS):
        for x, y in loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y, label_smoothing=0.05).backward()
            optimizer.step()
            schedule.step()
    model.eval()
    with torch.no_grad():
        right = (model(torch.from_numpy(test_x)).argmax(1).numpy() == test_y).sum()
    print(f"{right} of {len(test_y)} right")
    torch.onnx.export(
        model,
        (torch.from_numpy(test_x[:2]),),
        HERE / "digits.onnx",
        input_names=["image"],
        output_names=["logits"],
        dynamic_shapes=({0: torch.export.Dim("N", min=1, max=4096)},),
        opset_version=18,
        external_data=False,
    )
    np.savez_compressed(HERE / "test.npz", image=test_x)
    np.savez_compressed(HERE / "labels.npz", logits=test_y.astype(np.int64))


if __name__ == "__main__":
    main()
