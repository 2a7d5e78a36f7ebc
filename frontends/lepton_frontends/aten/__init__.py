"""The operators of PyTorch, for every frontend that meets them; see :mod:`lepton_frontends.aten.rules`."""
