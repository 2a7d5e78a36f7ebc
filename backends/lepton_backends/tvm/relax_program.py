"""From a module in kernel form to a Relax program that calls the kernels.

``main`` takes the inputs and then the weights. Kernels are called by ``call_tir``, that is, they write into storage
that the caller planned; the symbolic dimensions that they need come along as int64 scalars. A conditional runs only
the branch that is taken. Reshapes are views.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tvm import relax, tirx
from tvm.ir import IRModule

from lepton_backends.tvm.emit.rules import storage_dtype
from lepton_ir.diagnostics import LeptonError
from lepton_ir.ir import Block, Constant, Module, TensorType, Value
from lepton_ir.ir.core import Operation
from lepton_ir.ir.dim import Dim, Func, Sym

ENTRY = "main"


@dataclass(frozen=True)
class RelaxProgram:
    """A Relax module with its kernels, and the weights that its ``main`` takes after the inputs, in order."""

    module: IRModule
    weights: dict[str, Constant]

    def relax_text(self) -> str:
        """Return the Relax functions, to read."""
        return self._text(relax.Function)

    def tensorir_text(self) -> str:
        """Return the kernels in TensorIR, to read."""
        return self._text(tirx.PrimFunc)

    def _text(self, kind: type[Any]) -> str:
        functions = {gv: f for gv, f in self.module.functions.items() if isinstance(f, kind)}
        return "\n\n".join(str(f.script(name=gv.name_hint)) for gv, f in functions.items()) + "\n"


def build_relax(module: Module, kernels: Mapping[str, tirx.PrimFunc]) -> RelaxProgram:
    """Build the Relax program of a module in kernel form.

    Args:
        module: only constants, kernels, reshapes and conditionals stand outside of kernel regions.
        kernels: kernel symbol to its function, whose parameters are operands, results, then one int64 scalar per
            symbolic dimension that it needs, named like the dimension.

    Raises:
        LeptonError: an operation stands outside of a kernel that only a kernel can compute.
    """
    return _Builder(kernels).build(module)


@dataclass
class _Builder:
    kernels: Mapping[str, tirx.PrimFunc]
    builder: relax.BlockBuilder = field(default_factory=relax.BlockBuilder)
    symbols: dict[str, tirx.Var] = field(default_factory=dict)
    values: dict[Value, Any] = field(default_factory=dict)
    functions: dict[str, Any] = field(default_factory=dict)
    scalars: dict[str, list[str]] = field(default_factory=dict)
    weights: dict[str, Constant] = field(default_factory=dict)
    parameters: dict[Constant, relax.Var] = field(default_factory=dict)

    def build(self, module: Module) -> RelaxProgram:
        main = module.main
        taken: set[str] = set()
        inputs = [self._parameter(_unique(a.name or f"input{a.index}", taken), a.tensor) for a in main.arguments]
        self.values.update(zip(main.arguments, inputs, strict=True))
        self._add_kernels(module)
        self._add_weights(module, taken)
        with self.builder.function(ENTRY, [*inputs, *self.parameters.values()]):
            results = self._block(main.body)
            # A tuple also of a single output, so that callers need not tell the cases apart.
            self.builder.emit_func_output(relax.Tuple(results))
        return RelaxProgram(self.builder.finalize(), self.weights)

    def _add_kernels(self, module: Module) -> None:
        for op in module.main.walk():
            symbol = str(op.attributes.get("symbol"))
            if op.name != "kernel" or symbol in self.functions:
                continue
            function, scalars = _scalars_before_results(self.kernels[symbol], len(op.present_operands), len(op.results))
            self.scalars[symbol] = scalars
            self.functions[symbol] = self.builder.add_func(function, symbol)

    def _add_weights(self, module: Module, taken: set[str]) -> None:
        """Make a parameter of every constant that is read outside of kernels; equal constants share one."""
        for op in module.main.walk():
            if op.name != "const" or _inside_kernel(op):
                continue
            constant: Constant = op.attributes["value"]
            if constant not in self.parameters:
                name = _unique(constant.name or f"constant{len(self.weights)}", taken)
                self.weights[name] = constant
                self.parameters[constant] = self._parameter(name, constant.type)
            self.values[op.results[0]] = self.parameters[constant]

    def _parameter(self, name: str, type_: TensorType) -> relax.Var:
        return relax.Var(name, self._type(type_))

    def _block(self, block: Block) -> list[Any]:
        """Emit the operations of a block and return what its terminator returns."""
        for op in block.ops:
            match op.name:
                case "const":
                    continue
                case "kernel":
                    results = self._kernel(op)
                case "control.if":
                    results = self._if(op)
                case "tensor.reshape":
                    results = [self._reshape(self.values[op.present_operands[0]], op.results[0].tensor.shape)]
                case _ if op is block.last:
                    return [self.values[v] for v in op.present_operands]
                case _:
                    raise _stray(op)
            self.values.update(zip(op.results, results, strict=True))
        raise ValueError("a block ended without a terminator")

    def _kernel(self, op: Operation) -> list[Any]:
        symbol = op.attributes["symbol"]
        arguments = [self.values[v] for v in op.present_operands]
        arguments += [self._symbol(name) for name in self.scalars[symbol]]
        types = [self._type(r.tensor) for r in op.results]
        call = self.builder.emit(relax.call_tir(self.functions[symbol], arguments, types))
        return [call] if len(types) == 1 else self._unpack(call, len(types))

    def _if(self, op: Operation) -> list[Any]:
        branches = [self._branch(region.block) for region in op.regions]
        chosen = self.builder.emit(relax.If(self.values[op.present_operands[0]], *branches))
        return [chosen] if len(op.results) == 1 else self._unpack(chosen, len(op.results))

    def _branch(self, block: Block) -> Any:
        self.builder._begin_binding_block()
        results = self._block(block)
        value = self.builder.emit(results[0] if len(results) == 1 else relax.Tuple(results))
        return relax.SeqExpr([self.builder._end_block()], value)

    def _unpack(self, value: Any, count: int) -> list[Any]:
        return [self.builder.emit(relax.TupleGetItem(value, i)) for i in range(count)]

    def _reshape(self, value: Any, shape: Sequence[Dim]) -> Any:
        return self.builder.emit(relax.op.reshape(value, relax.ShapeExpr([self._dim(d) for d in shape])))

    def _type(self, type_: TensorType) -> Any:
        return relax.TensorType([self._dim(d) for d in type_.shape], storage_dtype(type_.dtype))

    def _symbol(self, name: str) -> tirx.Var:
        if name not in self.symbols:
            self.symbols[name] = tirx.Var(name, "int64")
        return self.symbols[name]

    def _dim(self, dim: Dim) -> Any:
        """Return TVM's expression for a dimension."""
        if isinstance(dim, int):
            return tirx.IntImm("int64", dim)
        total: Any = None
        for monomial, coefficient in dim.terms:
            term: Any = tirx.IntImm("int64", coefficient)
            for atom, power in monomial:
                factor = self._symbol(atom.name) if isinstance(atom, Sym) else self._call(atom)
                for _ in range(power):
                    term = term * factor
            total = term if total is None else total + term
        return total

    def _call(self, atom: Func) -> Any:
        a, b = self._dim(atom.lhs), self._dim(atom.rhs)
        match atom.fn:
            case "floordiv":
                return tirx.floordiv(a, b)
            case "ceildiv":
                return tirx.floordiv(a + b - 1, b)
            case "mod":
                return tirx.floormod(a, b)
            case "min":
                return tirx.min(a, b)
            case _:
                return tirx.max(a, b)


def _scalars_before_results(function: tirx.PrimFunc, operands: int, results: int) -> tuple[tirx.PrimFunc, list[str]]:
    """Move the scalars, which stand last, to where ``call_tir`` passes them: between operands and results."""
    params = list(function.params)
    scalars = params[operands + results :]
    if not scalars:
        return function, []
    ordered = [*params[:operands], *scalars, *params[operands : operands + results]]
    moved = tirx.PrimFunc(ordered, function.body, function.ret_type, attrs=function.attrs)
    return moved, [str(v.name) for v in scalars]


def _inside_kernel(op: Operation) -> bool:
    region = op.parent.parent if op.parent is not None else None
    while region is not None and region.parent is not None:
        if region.parent.name == "kernel":
            return True
        block = region.parent.parent
        region = block.parent if block is not None else None
    return False


def _unique(name: str, taken: set[str]) -> str:
    candidate, count = name, 1
    while candidate in taken:
        count += 1
        candidate = f"{name}_{count}"
    taken.add(candidate)
    return candidate


def _stray(op: Operation) -> LeptonError:
    return LeptonError(
        f"{op.name} stands outside of a kernel",
        where=op.location,
        why="the TVM backend takes modules in kernel form",
        help="run a pipeline that ends with the pass that forms kernels, such as -O1",
    )
