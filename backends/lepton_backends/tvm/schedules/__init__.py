"""Templates: the loop structure of the kernels, per target and anchor operator."""
