"""The networks to measure on: real architectures with random weights, and small trained ones.

Nothing is downloaded. torchvision's networks and transformers' BERT-base are built from their configurations and
exported to ONNX once, into a cache folder; batch-norm statistics are randomized, so that folding them wrongly shows.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

VISION = (
    "resnet18",
    "resnet50",
    "mobilenet_v2",
    "mobilenet_v3_large",
    "efficientnet_b0",
    "squeezenet1_1",
    "vgg16",
    "vit_b_16",
)
BERT = "bert_base_128"
LARGE = (*VISION, BERT)
DYNAMIC = ("resnet18", "mobilenet_v2", BERT)
TRAINED = Path(__file__).parent / "models"


def trained() -> list[Path]:
    """Return the small trained networks that come along."""
    return sorted(TRAINED.glob("*.onnx"))


def light() -> list[Path]:
    """Return the nine light networks inside the onnx package."""
    import onnx

    return sorted((Path(onnx.__file__).parent / "backend/test/data/light").glob("*.onnx"))


def large(cache: Path, names: tuple[str, ...] = LARGE, dynamic: bool = False) -> list[Path]:
    """Return the exported networks, exporting those that the cache lacks (in a process of its own, for the memory)."""
    cache.mkdir(parents=True, exist_ok=True)
    suffix = ".dyn.onnx" if dynamic else ".onnx"
    for name in names:
        if not (cache / f"{name}{suffix}").exists():
            flags = ["--dynamic"] if dynamic else []
            subprocess.run([sys.executable, __file__, str(cache), name, *flags], check=True)
    return [cache / f"{name}{suffix}" for name in names]


def _declare_torchvision_operators() -> None:
    # torchvision's wheel is built for CUDA; beside a CPU build of torch it imports once its operators are declared.
    # transformers imports it as well, where it is installed.
    import torch

    library = torch.library.Library("torchvision", "DEF")
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    for name in ("roi_align", "ps_roi_align", "roi_pool", "ps_roi_pool", "deform_conv2d"):
        library.define(f"{name}(Tensor a) -> Tensor")
        library.define(f"_{name}_backward(Tensor a) -> Tensor")
    library.define("qroi_align(Tensor a) -> Tensor")
    _declare_torchvision_operators.library = library  # type: ignore[attr-defined]


def _vision(name: str) -> tuple[object, tuple[object, ...], list[str], tuple[dict[int, str], ...]]:
    import torch
    import torchvision.models

    model = getattr(torchvision.models, name)(weights=None).eval()
    for layer in model.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.running_mean.normal_(0, 0.1)
            layer.running_var.uniform_(0.5, 1.5)
            layer.weight.data.uniform_(0.5, 1.5)
            layer.bias.data.normal_(0, 0.1)
        if isinstance(layer, torch.nn.Linear):
            # ViT's head starts at zero, and an output of zeros would hide every error.
            layer.weight.data.normal_(0, 0.02)
    return model, (torch.randn(1, 3, 224, 224),), ["input"], ({0: "N"},)


def _bert() -> tuple[object, tuple[object, ...], list[str], tuple[dict[int, str], ...]]:
    import torch
    from transformers import BertConfig, BertModel

    class LastHidden(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bert = BertModel(BertConfig(attn_implementation="eager")).eval()

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            return self.bert(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state

    ids, mask = torch.randint(0, 30000, (1, 128)), torch.ones(1, 128, dtype=torch.long)
    return LastHidden().eval(), (ids, mask), ["input_ids", "attention_mask"], ({0: "N", 1: "S"},) * 2


def export(name: str, folder: Path, dynamic: bool) -> None:
    """Write one network as ONNX, opset 18."""
    import torch

    _declare_torchvision_operators()
    torch.manual_seed(0)
    model, example, names, dims = _bert() if name == BERT else _vision(name)
    shapes = None
    if dynamic:
        # An example batch of 1 would be taken for a constant.
        example = tuple(t.repeat(2, *[1] * (t.dim() - 1)) for t in example)  # type: ignore[attr-defined]
        symbols = {s: torch.export.Dim(s, min=1, max=512) for d in dims for s in d.values()}
        shapes = tuple({axis: symbols[s] for axis, s in d.items()} for d in dims)
    path = folder / f"{name}{'.dyn' if dynamic else ''}.onnx"
    aside = path.with_suffix(".part")
    torch.onnx.export(
        model,
        example,
        aside,
        input_names=names,
        opset_version=18,
        dynamo=True,
        external_data=False,
        verbose=False,
        dynamic_shapes=shapes,
    )
    aside.replace(path)


if __name__ == "__main__":
    export(sys.argv[2], Path(sys.argv[1]), "--dynamic" in sys.argv)
