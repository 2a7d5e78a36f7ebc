"""The rules of the aten operators, grouped by kind; see :mod:`lepton_frontends.aten.rules`."""
