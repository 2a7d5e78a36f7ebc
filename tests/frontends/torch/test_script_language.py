"""The language of TorchScript archives, from archives written by hand: syntax that older versions print, and errors."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lepton_frontends.torchscript.parser import parse
from lepton_frontends.torchscript.syntax import ClassDef

from lepton_ir.diagnostics import LeptonError
from lepton_ir.frontend import load_model
from lepton_ir.interp import run
from lepton_ir.testing.script_archive import Instance, write_archive

HEAD = "class M(Module):\n  def forward(self: __torch__.M,\n    x: Tensor) -> Tensor:\n"


def number_of(folder, *lines, attributes=None):
    """Return what x + n is for x = 0, where the lines compute n."""
    text = HEAD + "".join(f"    {line}\n" for line in lines) + "    return torch.add(x, n)\n"
    root = Instance("__torch__.M", attributes or {})
    path = write_archive(folder / "model.pt", root, {"__torch__.py": text})
    (found,) = run(load_model(path, inputs=["x:1:f64"]), [np.zeros(1)])
    return found[0]


NUMBERS = st.integers(-9, 9).map(lambda n: f"({n})")
BINARY = st.sampled_from(["+", "-", "*", "//", "%", "<<", "&", "|", "^", "<", "==", "!="])
LOGICAL = st.sampled_from(["and", "or"])


def combined(inner):
    return st.one_of(
        st.tuples(inner, BINARY, inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
        st.tuples(inner, LOGICAL, inner).map(lambda t: f"(bool({t[0]}) {t[1]} bool({t[2]}))"),
        inner.map(lambda e: f"(-{e})"),
        inner.map(lambda e: f"(not {e})"),
        st.tuples(inner, inner, inner).map(lambda t: f"({t[0]} if {t[1]} else {t[2]})"),
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("archives")


@settings(max_examples=150, deadline=None)
@given(expression=st.recursive(NUMBERS, combined, max_leaves=8))
def test_operators_mean_what_they_mean_in_python(folder, expression):
    try:
        wanted = int(eval(expression))
    except (ArithmeticError, ValueError):
        with pytest.raises(LeptonError):
            number_of(folder, f"n = int({expression})")
        return
    if abs(wanted) < 2**40:
        assert number_of(folder, f"n = int({expression})") == wanted


PROGRAMS = {
    "containers": (["d = {'a': 1, \"b\": 2}", "l = [4, 5, 6]", "n = torch.add(d['b'], l[-1])"], 8),
    "membership": (["n = int(3 in [1, 3]) + int(4 not in [1, 3]) * 10 + int(None is None) + int(x is not None)"], 13),
    "unpacking": (["a, b, = (1, 2)", "c, = (5,)", "n = a + b * c"], 11),
    "loops": (["n = 0", "for i in range(5):", "  if i == 3:", "    continue", "  n = n + i"], 7),
    "while": (["n = 1", "while n < 50:", "  n = n * 3", "  if n == 27:", "    break"], 27),
    "strings": (["s = 'ab' \"c\"", "n = torch.len(torch.format(\"{}-{}\", s, 12))"], 6),
    "attributes": (["n = self.k + getattr(self, \"0\")"], 12),
    "with": (["with torch.no_grad():", "  n = 4"], 4),
    "typed": (["n : int = 3", "pass"], 3),
    "numbers": (["n = 1.5e1 + .5 + 1_".replace("1_", "1")], 16.5),
    "isinstance": (["n = int(isinstance([1], List[int])) + int(isinstance(x, Tensor)) + int(isinstance(3, float))"], 2),
}  # fmt: skip


@pytest.mark.parametrize("name", PROGRAMS)
def test_programs(folder, name):
    lines, wanted = PROGRAMS[name]
    assert number_of(folder, *lines, attributes={"k": 5, "0": 7}) == wanted


def test_classes():
    text = (
        'class M(Module):\n  __parameters__ = ["w", ]\n  w : Tensor\n  k : Final[int] = 3\n'
        '  __annotations__["0"] = __torch__.N\n  def forward(self: __torch__.M,\n    x: Tensor=CONSTANTS.c0,\n'
        "    *args) -> Tuple[Tensor, int]:\n    return (x, 1)\nclass P(NamedTuple):\n  a : Tensor\n"
    )
    file = parse(text, "code.py")
    assert isinstance(file.classes["M"], ClassDef)
    assert list(file.classes["M"].annotations) == ["w", "k", "0"]
    assert [p.name for p in file.classes["M"].methods["forward"].parameters] == ["self", "x", "args"]
    assert file.classes["P"].bases[0].id == "NamedTuple"


@pytest.mark.parametrize("text", ["x = = 1\n", "def f(:\n  pass\n", "class M(Module):\nx = 1\n", '"open\n'])
def test_what_is_no_torchscript_is_refused_with_its_line(text):
    with pytest.raises(LeptonError, match=r"code\.py:\d+|code\.py"):
        parse(text, "code.py")
