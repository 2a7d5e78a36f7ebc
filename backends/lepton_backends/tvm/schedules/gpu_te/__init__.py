"""Tensor expressions of the operators, for the GPU schedules."""
