"""Values, operations, blocks and regions: the data structures of the IR, with def-use chains."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from lepton_ir.ir.dim import Expr, symbols
from lepton_ir.ir.location import UNKNOWN, Location
from lepton_ir.ir.types import TensorType, Type

if TYPE_CHECKING:
    from lepton_ir.ir.opdef import OpSpec


class Value:
    """An SSA value: the result of an operation or the argument of a block.

    Attributes:
        type: the value's type.
        name: a name to print it by; "" lets the printer number it. Not an identity.
    """

    __slots__ = ("_uses", "name", "type")

    def __init__(self, type: Type, name: str = "") -> None:
        self.type = type
        self.name = name
        self._uses: dict[tuple[Operation, int], None] = {}

    @property
    def uses(self) -> tuple[tuple[Operation, int], ...]:
        """The (operation, operand index) pairs that read this value, oldest first."""
        return tuple(self._uses)

    @property
    def users(self) -> tuple[Operation, ...]:
        """The distinct operations that read this value, oldest first."""
        return tuple(dict.fromkeys(op for op, _ in self._uses))

    @property
    def is_used(self) -> bool:
        return bool(self._uses)

    @property
    def has_one_use(self) -> bool:
        return len(self._uses) == 1

    @property
    def owner(self) -> Operation | Block:
        """The defining operation, or the block whose argument this is."""
        raise TypeError("a plain Value has no owner")

    @property
    def op(self) -> Operation | None:
        """The defining operation, None for block arguments."""
        return None

    @property
    def tensor(self) -> TensorType:
        """The type, which must be a tensor's.

        Raises:
            TypeError: the value is a sequence or an optional.
        """
        if not isinstance(self.type, TensorType):
            raise TypeError(f"expected a tensor, got {self.type}")
        return self.type

    @property
    def shape(self) -> tuple[Any, ...]:
        """The tensor's dimensions (each an int or an Expr)."""
        return self.tensor.shape

    @property
    def rank(self) -> int:
        return len(self.tensor.shape)

    def replace_all_uses_with(self, other: Value) -> None:
        """Make every reader of this value read ``other``; costs time in the number of uses."""
        if other is self:
            return
        for op, index in tuple(self._uses):
            op.set_operand(index, other)
        if self.name and not other.name and isinstance(other, OpResult):
            other.name = self.name


class OpResult(Value):
    """The ``index``-th result of ``op``."""

    __slots__ = ("_op", "index")

    def __init__(self, type: Type, op: Operation, index: int) -> None:
        super().__init__(type)
        self._op = op
        self.index = index

    @property
    def owner(self) -> Operation:
        return self._op

    @property
    def op(self) -> Operation:
        return self._op


class BlockArgument(Value):
    """The ``index``-th argument of ``block``."""

    __slots__ = ("block", "index")

    def __init__(self, type: Type, block: Block, index: int, name: str = "") -> None:
        super().__init__(type, name)
        self.block = block
        self.index = index

    @property
    def owner(self) -> Block:
        return self.block


class Operation:
    """An operation. Every operator is a subclass that declares its fields, see :mod:`lepton_ir.ir.opdef`.

    Operands are positional; an absent optional operand is ``None``. Attributes are plain immutable Python
    values: int, float, bool, str, DType, types, dimensions, Constant, and tuples of those.
    """

    __slots__ = ("_next", "_operands", "_prev", "attributes", "location", "parent", "regions", "results")

    name: ClassVar[str] = ""
    spec: ClassVar[OpSpec]

    def __init__(
        self,
        operands: Sequence[Value | None] = (),
        attributes: Mapping[str, Any] | None = None,
        result_types: Sequence[Type] = (),
        regions: Sequence[Region] = (),
        location: Location = UNKNOWN,
    ) -> None:
        self.attributes: dict[str, Any] = dict(attributes or {})
        self.location = location
        self.parent: Block | None = None
        self._prev: Operation | None = None
        self._next: Operation | None = None
        self._operands: list[Value | None] = list(operands)
        for i, value in enumerate(self._operands):
            if value is not None:
                value._uses[(self, i)] = None
        self.results: tuple[OpResult, ...] = tuple(OpResult(t, self, i) for i, t in enumerate(result_types))
        self.regions: tuple[Region, ...] = tuple(regions)
        for region in self.regions:
            region.parent = self

    @property
    def operands(self) -> tuple[Value | None, ...]:
        return tuple(self._operands)

    @property
    def present_operands(self) -> tuple[Value, ...]:
        """The operands that are not None."""
        return tuple(v for v in self._operands if v is not None)

    @property
    def result(self) -> OpResult:
        """The only result.

        Raises:
            ValueError: there is not exactly one.
        """
        if len(self.results) != 1:
            raise ValueError(f"{self.name} has {len(self.results)} results, not one")
        return self.results[0]

    def set_operand(self, index: int, value: Value | None) -> None:
        """Replace one operand and keep the use lists right."""
        old = self._operands[index]
        if old is not None:
            del old._uses[(self, index)]
        self._operands[index] = value
        if value is not None:
            value._uses[(self, index)] = None

    def set_operands(self, values: Sequence[Value | None]) -> None:
        """Replace the whole operand list."""
        self.drop_uses()
        self._operands = list(values)
        for i, value in enumerate(self._operands):
            if value is not None:
                value._uses[(self, i)] = None

    def drop_uses(self) -> None:
        """Forget all operands (before erasing)."""
        for i, value in enumerate(self._operands):
            if value is not None:
                del value._uses[(self, i)]
        self._operands = []

    @property
    def attribute_symbols(self) -> frozenset[str]:
        """The names of dimensions that the attributes hold."""
        found: set[str] = set()
        pending = list(self.attributes.values())
        while pending:
            value = pending.pop()
            if isinstance(value, tuple):
                pending += value
            elif isinstance(value, Expr):
                found |= symbols(value)
        return frozenset(found)

    @property
    def next_op(self) -> Operation | None:
        return self._next

    @property
    def prev_op(self) -> Operation | None:
        return self._prev

    def detach(self) -> None:
        """Take the operation out of its block, keeping operands and results."""
        if self.parent is not None:
            self.parent._unlink(self)

    def erase(self) -> None:
        """Remove the operation and everything inside it.

        Raises:
            ValueError: a result is still used.
        """
        used = [str(r.index) for r in self.results if r._uses]
        if used:
            raise ValueError(f"cannot erase {self.name}: result {', '.join(used)} is still used")
        for region in self.regions:
            region.block.erase_all()
        self.drop_uses()
        self.detach()

    def replace_with(self, values: Sequence[Value]) -> None:
        """Replace all results by ``values`` and erase the operation."""
        if len(values) != len(self.results):
            raise ValueError(f"{self.name} has {len(self.results)} results, got {len(values)} replacements")
        for result, value in zip(self.results, values, strict=True):
            result.replace_all_uses_with(value)
        self.erase()

    def walk(self) -> Iterator[Operation]:
        """Yield this operation and all inside it, outer before inner, in order."""
        yield self
        for region in self.regions:
            yield from region.block.walk()

    def is_before(self, other: Operation) -> bool:
        """Return whether this operation stands before ``other`` in the same block."""
        node = self._next
        while node is not None:
            if node is other:
                return True
            node = node._next
        return False

    def clone(self, mapping: dict[Value, Value] | None = None) -> Operation:
        """Copy the operation and its regions; operands go through ``mapping``, which gains the results."""
        mapping = {} if mapping is None else mapping
        operands = [None if v is None else mapping.get(v, v) for v in self._operands]
        regions = [region.clone(mapping) for region in self.regions]
        copy = type(self)(operands, self.attributes, [r.type for r in self.results], regions, self.location)
        for old, new in zip(self.results, copy.results, strict=True):
            new.name = old.name
            mapping[old] = new
        return copy

    def infer(self) -> Type | Sequence[Type]:
        """Return the result types that operands and attributes imply.

        Raises:
            InferenceError: they do not fit together.
        """
        return [r.type for r in self.results]

    def verify(self) -> None:
        """Check what inference does not; raise ``InferenceError`` where something does not hold."""

    def evaluate(self, *operands: Any) -> Any:
        """Return the numpy array (or tuple of them) that the operation means, given its operands' arrays."""
        raise TypeError(f"{self.name} has no value of its own")

    def __repr__(self) -> str:
        return f"<{self.name or type(self).__name__} at {self.location}>"


class Block:
    """A list of operations with arguments; the last operation is a terminator."""

    __slots__ = ("_first", "_last", "arguments", "parent")

    def __init__(self, argument_types: Iterable[Type] = ()) -> None:
        self.parent: Region | None = None
        self._first: Operation | None = None
        self._last: Operation | None = None
        self.arguments: list[BlockArgument] = []
        for t in argument_types:
            self.add_argument(t)

    def add_argument(self, type: Type, name: str = "") -> BlockArgument:
        argument = BlockArgument(type, self, len(self.arguments), name)
        self.arguments.append(argument)
        return argument

    def erase_argument(self, index: int) -> None:
        """Remove an unused argument."""
        if self.arguments[index].is_used:
            raise ValueError(f"block argument {index} is still used")
        del self.arguments[index]
        for i, argument in enumerate(self.arguments):
            argument.index = i

    @property
    def first(self) -> Operation | None:
        return self._first

    @property
    def last(self) -> Operation | None:
        return self._last

    @property
    def terminator(self) -> Operation:
        """The last operation.

        Raises:
            ValueError: the block is empty.
        """
        if self._last is None:
            raise ValueError("the block is empty")
        return self._last

    @property
    def ops(self) -> Iterator[Operation]:
        """Iterate over the operations; erasing or inserting around the current one is safe."""
        op = self._first
        while op is not None:
            following = op._next
            yield op
            op = following if op.parent is not self else op._next

    def __len__(self) -> int:
        return sum(1 for _ in self.ops)

    def append(self, op: Operation) -> Operation:
        return self.insert_before(None, op)

    def insert_before(self, anchor: Operation | None, op: Operation) -> Operation:
        """Insert a detached ``op`` before ``anchor``, at the end where that is None."""
        if op.parent is not None:
            raise ValueError(f"{op.name} already stands in a block")
        op.parent = self
        op._next = anchor
        op._prev = self._last if anchor is None else anchor._prev
        if op._prev is None:
            self._first = op
        else:
            op._prev._next = op
        if anchor is None:
            self._last = op
        else:
            anchor._prev = op
        return op

    def insert_after(self, anchor: Operation, op: Operation) -> Operation:
        return self.insert_before(anchor._next, op)

    def _unlink(self, op: Operation) -> None:
        if op._prev is None:
            self._first = op._next
        else:
            op._prev._next = op._next
        if op._next is None:
            self._last = op._prev
        else:
            op._next._prev = op._prev
        op._prev = op._next = op.parent = None

    def erase_all(self) -> None:
        """Erase every operation, last first."""
        while self._last is not None:
            self._last.erase()

    def walk(self) -> Iterator[Operation]:
        for op in self.ops:
            yield from op.walk()


class Region:
    """A region with a single block, owned by an operation or a function."""

    __slots__ = ("block", "parent")

    def __init__(self, block: Block | None = None) -> None:
        self.block = block if block is not None else Block()
        self.block.parent = self
        self.parent: Operation | None = None

    def clone(self, mapping: dict[Value, Value]) -> Region:
        copy = Block()
        for argument in self.block.arguments:
            mapping[argument] = copy.add_argument(argument.type, argument.name)
        for op in self.block.ops:
            copy.append(op.clone(mapping))
        return Region(copy)
