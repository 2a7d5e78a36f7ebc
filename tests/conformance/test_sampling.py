"""GridSample, RoiAlign, DeformConv and Col2Im beyond ONNX's own cases."""

from itertools import product

import ml_dtypes
import numpy as np
import pytest
from lepton_frontends.onnx.load import import_model
from node_checks import check, close, compiled, node_model, reference_of, refused

import lepton_ir
from lepton_ir.diagnostics import LeptonError

RNG = np.random.default_rng(7)
PADDINGS = ["zeros", "border", "reflection"]


def floats(*shape, low=-2.0, high=2.0, dtype=np.float32):
    return RNG.uniform(low, high, shape).astype(dtype)


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("mode", ["linear", "nearest", "cubic"])
def test_grid_sample_of_images(mode, padding):
    for align_corners, (h, w) in product((0, 1), ((5, 7), (1, 3))):
        grid = floats(2, 4, 9, 2, low=-2.5, high=2.5)
        check("GridSample", [floats(2, 3, h, w), grid], 20,
              mode=mode, padding_mode=padding, align_corners=align_corners)  # fmt: skip


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("mode", ["linear", "nearest"])
def test_grid_sample_of_volumes(mode, padding):
    arrays = [floats(2, 3, 3, 5, 4), floats(2, 2, 4, 6, 3)]
    check("GridSample", arrays, 22, mode=mode, padding_mode=padding, align_corners=1)


@pytest.mark.parametrize("padding", ["zeros", "reflection"])
def test_cubic_grid_sample_of_lines_and_volumes(padding):
    check("GridSample", [floats(1, 2, 6), floats(1, 5, 1)], 20, reference_of, mode="cubic", padding_mode=padding)
    arrays = [floats(1, 1, 3, 4, 3), floats(1, 2, 1, 2, 3)]
    check("GridSample", arrays, 20, reference_of, mode="cubic", padding_mode=padding)


@pytest.mark.parametrize("mode", ["bilinear", "nearest", "bicubic"])
def test_grid_sample_before_opset_20(mode):
    check("GridSample", [floats(1, 2, 5, 6), floats(1, 3, 4, 2)], 16, mode=mode)


def test_grid_sample_of_integers_and_narrow_floats():
    grid = floats(1, 3, 4, 2, low=-1, high=1)
    check("GridSample", [RNG.integers(-9, 9, (1, 1, 4, 4)).astype(np.int32), grid], 20, reference_of, mode="nearest")
    x = floats(1, 2, 5, 6)
    (wide,) = reference_of(node_model("GridSample", [x, grid], 20), [x, grid])
    narrow = x.astype(ml_dtypes.bfloat16)
    close(compiled(node_model("GridSample", [narrow, grid], 22), [narrow, grid])[0].astype(np.float32), wide, 2e-2)


def test_places_that_are_no_numbers_read_nothing():
    grid = np.array([[[[np.nan, 0], [np.inf, -np.inf], [1e30, 0], [0, 0]]]], np.float32)
    found = compiled(node_model("GridSample", [np.full((1, 1, 3, 3), 5, np.float32), grid], 20), [
        np.full((1, 1, 3, 3), 5, np.float32), grid])[0]  # fmt: skip
    np.testing.assert_array_equal(found.reshape(-1), [0, 0, 0, 5])


@pytest.mark.parametrize("shift", ["half_pixel", "output_half_pixel"])
@pytest.mark.parametrize("mode", ["avg", "max"])
def test_roi_align(mode, shift):
    corner = floats(6, 2, low=-3, high=8)
    size = floats(6, 2, low=-1, high=9)
    arrays = [floats(2, 3, 9, 11), np.concatenate([corner, corner + size], 1), np.array([0, 1, 1, 0, 1, 0])]
    for ratio in (0, 1, 3):
        check("RoiAlign", arrays, 16, mode=mode, coordinate_transformation_mode=shift, sampling_ratio=ratio,
              output_height=3, output_width=2, spatial_scale=0.7)  # fmt: skip


def test_roi_align_before_opset_16():
    arrays = [floats(1, 2, 6, 5), np.array([[0.5, 1, 4, 3.2]], np.float32), np.array([0])]
    check("RoiAlign", arrays, 10, output_height=2, output_width=3)


@pytest.mark.parametrize("parts", ["mask and bias", "neither"])
def test_deform_conv(parts):
    full = parts == "mask and bias"
    extras = [floats(6), floats(2, 12, 3, 7)] if full else []
    arrays = [floats(2, 4, 6, 7), floats(6, 2, 3, 2), floats(2, 24, 3, 7), *extras]
    check("DeformConv", arrays, 19, reference_of,
          group=2, offset_group=2, pads=[1, 0, 0, 1], strides=[2, 1], dilations=[1, 1])  # fmt: skip


@pytest.mark.parametrize("rank", [1, 3])
def test_deform_conv_without_offsets_is_a_convolution(rank):
    x, w = floats(2, 3, *[5] * rank), floats(4, 3, *[2] * rank)
    offset = np.zeros((2, 2**rank * rank, *[3] * rank), np.float32)
    attributes = {"dilations": [2] * rank}
    (wanted,) = reference_of(node_model("Conv", [x, w], 19, **attributes), [x, w])
    close(compiled(node_model("DeformConv", [x, w, offset], 19, **attributes), [x, w, offset])[0], wanted)


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
@pytest.mark.parametrize(
    "image, block, attributes",
    [
        ([5, 7], [2, 3], {"strides": [1, 2], "pads": [1, 0, 0, 2], "dilations": [2, 1]}),
        ([6], [3], {"strides": [2]}),
        ([4, 3, 4], [2, 2, 2], {"strides": [2, 1, 2], "pads": [0, 1, 0, 0, 1, 0]}),
    ],
)
def test_col2im(image, block, attributes, dtype):
    rank = len(image)
    given = {"strides": [1] * rank, "pads": [0] * 2 * rank, "dilations": [1] * rank, **attributes}
    strides, pads, dilations = given["strides"], given["pads"], given["dilations"]
    blocks = [
        (image[i] + pads[i] + pads[i + rank] - dilations[i] * (block[i] - 1) - 1) // strides[i] + 1 for i in range(rank)
    ]
    x = RNG.integers(-9, 9, (2, 3 * int(np.prod(block)), int(np.prod(blocks)))).astype(dtype)
    arrays = [x, np.array(image), np.array(block)]
    for fixed in ((1, 2), ()):
        check("Col2Im", arrays, 18, reference_of, fixed=fixed, **attributes)


def test_blocks_that_do_not_fit_are_an_error_of_the_run():
    arrays = [floats(2, 12, 25), np.array([6, 6]), np.array([2, 2])]
    model = lepton_ir.runtime.load(lepton_ir.compile(import_model(node_model("Col2Im", arrays, 18)), verify=False))
    assert model(*arrays)[0].shape == (2, 3, 6, 6)
    for image, block in (([6, 6], [0, 2]), ([6, 6], [2, 5]), ([6, 6], [3, 3]), ([-5, -5], [2, 2]), ([5, 6], [2, 2])):
        with pytest.raises(LeptonError):
            model(arrays[0], np.array(image), np.array(block))


def test_refusals_name_the_node():
    image = floats(1, 3, 6, 6)
    refused("mode and padding", "GridSample", [image, floats(1, 2, 2, 2)], 20, mode="area")
    refused("must hold 2 coordinates", "GridSample", [image, floats(1, 2, 2, 3)], 20)
    rois, images = floats(2, 4), np.array([0, 0])
    refused("mode of nn.roi_align", "RoiAlign", [image, rois, images], 16, mode="sum")
    refused("coordinate_transformation_mode", "RoiAlign", [image, rois, images], 16,
            coordinate_transformation_mode="none")  # fmt: skip
    refused("do not fit 2 groups", "DeformConv", [image, floats(2, 3, 2, 2), floats(1, 8, 5, 5)], 19, group=2)
    refused("must have rank 4 and 8 channels", "DeformConv", [image, floats(2, 3, 2, 2), floats(1, 6, 5, 5)], 19)
    refused("blocks where 25 fit", "Col2Im", [floats(1, 4, 24), np.array([6, 6]), np.array([2, 2])], 18, fixed=(1, 2))


@pytest.mark.parametrize("align_corners", [0, 1])
def test_affine_grids(align_corners):
    for matrix, size in ((floats(2, 2, 3), [2, 3, 5, 7]), (floats(1, 3, 4), [1, 3, 2, 5, 3])):
        check("AffineGrid", [matrix, np.array(size)], 20, reference_of, fixed=(1,), align_corners=align_corners)


@pytest.mark.parametrize("shape, axes", [([5, 4], [0, -1]), ([9, 8, 6], None), ([3, 11], [2, 0]), ([0, 3], [1, 2])])
def test_center_crop_and_pad(shape, axes):
    attributes = {} if axes is None else {"axes": axes}
    for dtype in (np.int64, np.int32):
        for fixed in ((1,), ()):
            arrays = [floats(7, 9, 3), np.array(shape, dtype)]
            check("CenterCropPad", arrays, 18, reference_of, fixed=fixed, **attributes)
