"""Emitting the operations outside of kernels as the bindings of a Relax function."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tvm import relax, tirx

from lepton_backends.tvm.relax_types import Symbols
from lepton_backends.tvm.sites import NAME as SITE
from lepton_backends.tvm.sites import Sites, place_of
from lepton_ir.artifact.host_calls import SHAPE
from lepton_ir.diagnostics import LeptonError
from lepton_ir.ir import Block, Module, TensorType, Value
from lepton_ir.ir.core import Operation
from lepton_ir.ir.opdef import runs_on_host
from lepton_ir.ir.types import Type, is_numeric
from lepton_ir.ops.control import Kernel

Emitter = Callable[["FunctionBuilder", Operation], "list[Any]"]
EMITTERS: dict[str, Emitter] = {}
HOST = "@host"
"""Where the emitter of operations that the host evaluates stands among the others."""


def emits(name: str) -> Callable[[Emitter], Emitter]:
    """Register how the operator ``name`` is emitted where it stands outside of a kernel."""

    def register(emitter: Emitter) -> Emitter:
        EMITTERS[name] = emitter
        return emitter

    return register


@dataclass
class Program:
    """The Relax module while it is built.

    Attributes:
        module: the Lepton module.
        builder: gathers the functions.
        functions: name to the global variable of a kernel or a function.
        sites: kernel symbol to the places that share the kernel, where it asks which of them calls.
        shared: what a kernel outside of the module is made of, to its symbol.
        dims: function name to the names of those that it takes first, as a shape.
    """

    module: Module
    builder: relax.BlockBuilder = field(default_factory=relax.BlockBuilder)
    functions: dict[str, Any] = field(default_factory=dict)
    sites: dict[str, Sites] = field(default_factory=dict)
    shared: dict[Any, str] = field(default_factory=dict)
    dims: dict[str, list[str]] = field(default_factory=dict)

    def add_kernel(
        self, symbol: str, function: tirx.PrimFunc, operands: int, results: int, sites: Sites | None = None
    ) -> None:
        """Add a kernel whose parameters are operands, results, scalars, the number of its site the last where it asks.

        ``call_tir`` passes the scalars between operands and results, so they are moved there.
        """
        params = list(function.params)
        if sites is not None and params[-1].name == SITE:
            self.sites[symbol] = sites
        scalars = params[operands + results :]
        if scalars:
            params = [*params[:operands], *scalars, *params[operands : operands + results]]
            function = tirx.PrimFunc(params, function.body, function.ret_type, attrs=function.attrs)
        self.functions[symbol] = self.builder.add_func(function, symbol)


class FunctionBuilder:
    """Builds one Relax function.

    Attributes:
        program: what it belongs to.
        builder: TVM's builder of its bindings.
        symbols: its symbolic dimensions.
        values: Lepton's values to Relax's.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self.builder = relax.BlockBuilder()
        self.symbols = Symbols()
        self.values: dict[Value, Any] = {}

    def parameter(self, name: str, type_: Type) -> relax.Var:
        if is_numeric(type_):
            assert isinstance(type_, TensorType)
            self.symbols.bind(sorted(type_.symbols()))
        return relax.Var(name, self.symbols.value_type(type_))

    def function(self, name: str, params: Sequence[relax.Var], body: Callable[[], Sequence[Any]]) -> relax.Function:
        """Return the function that ``body`` emits; it returns a tuple, also of a single value."""
        with self.builder.function(name, list(params)):
            self.builder.emit_func_output(relax.Tuple(body()))
        return self.builder.get()[name]

    def block(self, block: Block) -> list[Any]:
        """Emit the operations of a block and return what its terminator returns.

        Raises:
            LeptonError: an operation stands there that only a kernel can compute.
        """
        for op in block.ops:
            if op is block.last:
                break
            if op.name == "const" and is_numeric(op.results[0].type):
                continue
            emitter = EMITTERS.get(HOST if op.name == "const" or runs_on_host(op) else op.name)
            if emitter is None:
                raise _stray(op)
            self.values.update(zip(op.results, emitter(self, op), strict=True))
        return [self.values[v] for v in block.terminator.present_operands]

    def scope(self, emit: Callable[[], Sequence[Any]]) -> relax.SeqExpr:
        """Return what ``emit`` emits, with the tuple of what it returns, as an expression of its own."""
        outside = dict(self.symbols.bound)
        self.builder._begin_binding_block()
        value = self.builder.emit(relax.Tuple(emit()))
        self.symbols.bound = outside
        return relax.SeqExpr([self.builder._end_block()], value)

    def unpack(self, value: Any, count: int) -> list[Any]:
        """Return the fields of a tuple."""
        return [self.builder.emit(relax.TupleGetItem(value, i)) for i in range(count)]

    def named(self, value: Any, type_: Type, certain: bool = True) -> Any:
        """Return a value as one of the type ``type_``, whose dimensions get names where they have none yet.

        Args:
            value: the value.
            type_: its type.
            certain: it surely is of that type where all dimensions are known; this is checked otherwise.
        """
        if not isinstance(type_, TensorType) or (certain and type_.symbols() <= self.symbols.bound.keys()):
            return value
        self.symbols.bind(sorted(type_.symbols()))
        if is_numeric(type_):
            return self.builder.match_cast(value, self.symbols.type(type_))
        shape = relax.Call(relax.ExternFunc(SHAPE), [value], ty_args=[relax.ShapeType(ndim=type_.rank)])
        self.builder.match_cast(self.builder.emit(shape), relax.ShapeType([self.symbols.dim(d) for d in type_.shape]))
        return value

    def call_kernel(
        self,
        symbol: str,
        arguments: Sequence[Any],
        types: Sequence[Any],
        dims: Sequence[str] = (),
        place: tuple[str, ...] = (),
    ) -> list[Any]:
        """Call a kernel.

        Args:
            symbol: its name.
            arguments: the operands.
            types: of its results.
            dims: the names of the symbolic dimensions that it needs, in its order.
            place: what tells the call from others of the same kernel, see :class:`~lepton_backends.tvm.sites.Sites`.
        """
        site = self.program.sites[symbol].number(place) if symbol in self.program.sites else []
        scalars = [*map(self.symbols.variable, dims), *(tirx.IntImm("int64", number) for number in site)]
        call = relax.call_tir(self.program.functions[symbol], [*arguments, *scalars], list(types))
        result = self.builder.emit(call)
        return [result] if len(types) == 1 else self.unpack(result, len(types))


@emits("kernel")
def _kernel(b: FunctionBuilder, op: Operation) -> list[Any]:
    arguments = [b.values[v] for v in op.present_operands]
    assert isinstance(op, Kernel)
    types = b.symbols.types([r.tensor for r in op.results])
    return b.call_kernel(op.symbol, arguments, types, op.symbol_names, place_of(op))


@emits("tensor.reshape")
def _reshape(b: FunctionBuilder, op: Operation) -> list[Any]:
    """A view: the virtual machine makes a tensor over the same storage."""
    result = op.results[0].tensor
    shape = b.symbols.shape(result.shape)
    if 0 in result.shape:
        # Relax reads a zero as "the size that was there". There are no elements to share.
        dtype = b.symbols.type(result).dtype
        return [b.builder.emit(relax.op.builtin.alloc_tensor(shape, str(dtype), 0))]
    return [b.builder.emit(relax.op.reshape(b.values[op.present_operands[0]], shape))]


def outside_kernels(module_or_block: Module | Block) -> Iterator[Operation]:
    """Yield the operations that are in no kernel region, kernels themselves included."""
    blocks = (
        [module_or_block]
        if isinstance(module_or_block, Block)
        else [f.body for f in module_or_block.functions.values()]
    )
    for block in blocks:
        for op in block.ops:
            yield op
            if op.name != "kernel":
                for region in op.regions:
                    yield from outside_kernels(region.block)


def captured_values(block: Block, known: Mapping[Value, Any]) -> list[Value]:
    """Return what the operations in ``block`` use of the ``known`` values around them, constants included."""
    used: dict[Value, None] = {}
    for op in outside_kernels(block):
        candidates = op.results if op.name == "const" else op.present_operands
        used.update((v, None) for v in candidates if v in known)
    return list(used)


def _stray(op: Operation) -> LeptonError:
    return LeptonError(
        f"{op.name} stands outside of a kernel",
        where=op.location,
        why="the TVM backend takes modules in kernel form",
        help="run a pipeline that ends with the pass that forms kernels, such as -O1",
    )
