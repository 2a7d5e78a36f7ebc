"""The lowering rules of the ONNX operators, grouped by kind; see :mod:`lepton_frontends.onnx.rules`."""
