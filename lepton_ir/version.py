"""The version of Lepton."""

__version__ = "0.1.0"
