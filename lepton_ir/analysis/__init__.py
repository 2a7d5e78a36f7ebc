"""Analyses of the IR."""
