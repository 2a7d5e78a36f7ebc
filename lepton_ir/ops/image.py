"""Decoding of image files; the host does it, by Pillow."""

from __future__ import annotations

import io
import warnings
from typing import Any

import numpy as np

from lepton_ir.ir.core import OpResult, Value
from lepton_ir.ir.dim import sym
from lepton_ir.ir.opdef import InferenceError, attribute, operand, result
from lepton_ir.ir.types import DType, TensorType, Type
from lepton_ir.ops.sequence import Reading
from lepton_ir.ops.support import Array

FORMATS = ("BMP", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
"""Pillow's names; PPM stands for all portable formats."""
MOST_PIXELS = 1 << 27
"""Images of more pixels are refused before they are decoded: a small file may hold a very large one."""
CHANNELS = {"RGB": 3, "BGR": 3, "Grayscale": 1}


class Decode(Reading):
    """The image that an image file holds, u8 [height, width, channels]; without pixels where it cannot be decoded."""

    name = "image.decode"
    data: Value = operand("the bytes of the file, u8 of rank 1")
    pixel_format = attribute(str, default="RGB", doc="RGB, BGR or Grayscale")
    y: OpResult = result()

    def infer(self) -> Type:
        if self.pixel_format not in CHANNELS:
            raise InferenceError(f"{self.name} knows the formats {', '.join(CHANNELS)}, got {self.pixel_format}")
        return TensorType((sym("height"), sym("width"), CHANNELS[self.pixel_format]), DType.U8)

    def verify(self) -> None:
        if self.data.rank != 1 or self.data.tensor.dtype is not DType.U8:
            raise InferenceError(f"{self.name} needs bytes, u8 of rank 1, got {self.data.type}")

    def evaluate(self, data: Array) -> Array:
        try:
            from PIL import Image
        except ImportError:
            raise ValueError("Pillow is not installed, which decodes images: pip install 'lepton-ir[image]'") from None
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", Image.DecompressionBombWarning)
                with Image.open(io.BytesIO(data.tobytes()), formats=FORMATS) as image:
                    _check_size(*image.size)
                    return _pixels(image, self.pixel_format)
        except (Image.DecompressionBombError, TooLargeError) as error:
            raise ValueError(f"the image is too large: {error}") from None
        except Exception:
            # The operator's definition has no errors, and Pillow's share no narrower base class.
            return np.empty((0, 0, CHANNELS[self.pixel_format]), np.uint8)


class TooLargeError(Exception):
    """An image has more pixels than :data:`MOST_PIXELS`."""


def _check_size(width: int, height: int) -> None:
    if width * height > MOST_PIXELS:
        raise TooLargeError(f"{width} by {height} pixels, at most {MOST_PIXELS} are decoded")


def _pixels(image: Any, pixel_format: str) -> Array:
    if image.mode.startswith("I"):
        # Of 16 bits the upper 8 are kept; Pillow itself would cut off what is above 255.
        image = image.convert("I").point(lambda v: v * (1 / 256)).convert("L")
    if pixel_format == "Grayscale":
        return np.array(image.convert("L"))[:, :, None]
    pixels = np.array(image.convert("RGB"))
    return np.ascontiguousarray(pixels[:, :, ::-1]) if pixel_format == "BGR" else pixels
