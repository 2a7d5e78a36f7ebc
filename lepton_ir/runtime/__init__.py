"""Running compiled models. Needs numpy, apache-tvm-ffi and TVM's runtime library; no compiler and no frontend.

from lepton_ir import runtime

model = runtime.load("resnet50.lepton")
outputs = model(image)              # by position, or model(input=image) by name
scores = outputs[0]                 # or outputs["scores"]
"""

from lepton_ir.runtime.model import CompiledModel, KernelTime, Outputs, load

__all__ = ["CompiledModel", "KernelTime", "Outputs", "load"]
