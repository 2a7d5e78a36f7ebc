"""Runs GPU-scheduled kernels on the CPU: TVM's OpenCL code, launched by pyopencl on PoCL.

TVM's wheel generates OpenCL but cannot launch it, so the host half of a function (scratch buffers, launch extents,
the order of its kernels), which TVM would compile to machine code, is interpreted here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyopencl as cl
import tvm
from tvm import tirx
from tvm.target import Target

_BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "Add": lambda a, b: a + b,
    "Sub": lambda a, b: a - b,
    "Mul": lambda a, b: a * b,
    "FloorDiv": lambda a, b: a // b,
    "FloorMod": lambda a, b: a % b,
    "Div": lambda a, b: a // b,
    "Mod": lambda a, b: a % b,
    "Min": min,
    "Max": max,
    "LT": lambda a, b: a < b,
    "LE": lambda a, b: a <= b,
    "GT": lambda a, b: a > b,
    "GE": lambda a, b: a >= b,
    "EQ": lambda a, b: a == b,
    "NE": lambda a, b: a != b,
    "And": lambda a, b: a and b,
    "Or": lambda a, b: a or b,
}


class PoclProgram:
    """A scheduled ``PrimFunc`` of static or dynamic shapes, callable with numpy arrays.

    Args:
        func: a function whose loops are bound to GPU threads.
        target: the OpenCL target that it was scheduled for.
    """

    _context: cl.Context | None = None

    def __init__(self, func: tirx.PrimFunc, target: Target) -> None:
        func = func.with_attr("global_symbol", "main")
        splits: list[tvm.IRModule] = []

        @tvm.instrument.pass_instrument
        class Capture:
            def run_after_pass(self, mod: tvm.IRModule, info: Any) -> None:
                if info.name == "tirx.SplitHostDevice":
                    splits.append(mod)

        with tvm.transform.PassContext(instruments=[Capture()]):
            library = tvm.tirx.build(tvm.IRModule({"main": func}), target=target)
        self.host = splits[0]["main"]
        self.source = library.imports[0].inspect_source()
        if PoclProgram._context is None:
            PoclProgram._context = cl.Context([cl.get_platforms()[0].get_devices()[0]])
        self.queue = cl.CommandQueue(PoclProgram._context)
        self.program = cl.Program(PoclProgram._context, self.source).build()

    def __call__(self, *arguments: np.ndarray | int) -> None:
        """Run the function; arrays that it writes are updated in place."""
        run = _HostRun(self, arguments)
        run.statement(self.host.body)
        self.queue.finish()
        for buffer, array in run.arrays:
            if array.flags.writeable:
                cl.enqueue_copy(self.queue, array, buffer)


class _HostRun:
    """One interpretation of a host function."""

    def __init__(self, owner: PoclProgram, arguments: tuple[np.ndarray | int, ...]) -> None:
        self.owner = owner
        self.values: dict[Any, Any] = {}
        self.arrays: list[tuple[cl.Buffer, np.ndarray]] = []
        for param, argument in zip(owner.host.params, arguments, strict=True):
            self._bind(param, argument)

    def _bind(self, param: Any, argument: np.ndarray | int) -> None:
        if not isinstance(argument, np.ndarray):
            self.values[param] = int(argument)
            return
        flags = cl.mem_flags.READ_WRITE | cl.mem_flags.COPY_HOST_PTR
        memory = cl.Buffer(self.owner.queue.context, flags, hostbuf=argument)
        self.arrays.append((memory, argument))
        self.values[param] = memory
        for dim, size in zip(param.shape, argument.shape, strict=True):
            if isinstance(dim, tirx.Var):
                self.values[dim] = size

    def statement(self, node: Any) -> None:
        """Run one host statement."""
        kind = type(node).__name__
        if kind == "SeqStmt":
            for item in node.seq:
                self.statement(item)
        elif kind == "Evaluate":
            self.launch(node.value)
        elif kind == "AllocBuffer":
            count = int(np.prod([self.expr(d) for d in node.buffer.shape]))
            size = max(count, 1) * np.dtype(str(node.buffer.dtype)).itemsize
            self.values[node.buffer] = cl.Buffer(self.owner.queue.context, cl.mem_flags.READ_WRITE, size)
        elif kind == "DeclBuffer":
            self.values[node.buffer] = self.expr(node.data)
        elif kind == "Bind":
            self.values[node.var] = self.expr(node.value)
        elif kind == "AttrStmt":
            self.statement(node.body)
        elif kind == "IfThenElse":
            branch = node.then_case if self.expr(node.condition) else node.else_case
            if branch is not None:
                self.statement(branch)
        else:
            raise AssertionError(f"unexpected host statement {kind}: {node}")

    def expr(self, node: Any) -> Any:
        """Evaluate one host expression."""
        if isinstance(node, (int, bool)):
            return node
        if node in self.values:
            return self.values[node]
        kind = type(node).__name__
        if kind in ("IntImm", "FloatImm", "StringImm"):
            return node.value
        if kind == "Call" and node.op.name == "tirx.buffer_data":
            return self.values[node.args[0]]
        if kind == "Select":
            return self.expr(node.true_value if self.expr(node.condition) else node.false_value)
        if kind == "Not":
            return not self.expr(node.a)
        if kind == "Cast":
            return int(self.expr(node.value))
        if kind in _BINARY:
            return _BINARY[kind](self.expr(node.a), self.expr(node.b))
        raise AssertionError(f"unexpected host expression {kind}: {node}")

    def launch(self, call: Any) -> None:
        """Launch one kernel: its name, its arguments, then the extents of its grid and blocks."""
        if type(call).__name__ == "IntImm":  # an empty statement
            return
        name = call.args[0].value
        axes = [str(axis) for axis in call.attrs.launch_params]
        split = len(call.args) - len(axes)
        extents = dict(zip(axes, [self.expr(e) for e in call.args[split:]], strict=True))
        grid = [int(extents.get(f"blockIdx.{axis}", 1)) for axis in "xyz"]
        block = [int(extents.get(f"threadIdx.{axis}", 1)) for axis in "xyz"]
        if 0 in grid:
            return
        kernel = cl.Kernel(self.owner.program, name)
        for index, argument in enumerate(call.args[1:split]):
            value = self.expr(argument)
            scalar = not isinstance(value, cl.Buffer)
            kernel.set_arg(index, np.dtype(str(argument.ty)).type(value) if scalar else value)
        shape = tuple(g * b for g, b in zip(grid, block, strict=True))
        cl.enqueue_nd_range_kernel(self.owner.queue, kernel, shape, tuple(block))
