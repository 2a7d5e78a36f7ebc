"""The backend built on TVM: kernels as TensorIR, the graph as a Relax program."""
