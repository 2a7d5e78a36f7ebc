"""The reference documentation, written from the operators and passes themselves.

``python -m lepton_ir.docgen docs/reference`` writes it; a test checks that it is fresh.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import lepton_ir.ops  # noqa: F401  registers the operators
from lepton_ir.ir.kinds import describe_kind
from lepton_ir.ir.opdef import REGISTRY, AttributeField, FusionKind, Operation
from lepton_ir.ops.window import PerAxisField
from lepton_ir.passes import PASSES, PIPELINES, load_passes

_FAMILIES = {
    "": ("Elementwise operators and structure", "What has no prefix: arithmetic, activations, terminators, kernels."),
    "linalg": ("Matrix products", ""),
    "nn": ("Neural networks", "Composite operators that passes and backends know as a whole."),
    "tensor": ("Tensors", "Creating, rearranging, reading and writing elements."),
    "reduce": ("Reductions", ""),
    "quant": ("Quantization", ""),
    "control": ("Control flow", ""),
    "seq": ("Sequences", ""),
    "str": ("Strings", ""),
    "dims": ("Sizes that data decides", ""),
}
_FUSION = {
    FusionKind.ELEMENTWISE: "elementwise",
    FusionKind.BROADCAST: "elementwise with broadcasting",
    FusionKind.INJECTIVE: "moves elements",
    FusionKind.REDUCTION: "reduction",
    FusionKind.ANCHOR: "anchor of a kernel",
    FusionKind.OPAQUE: "not fused",
}
_GENERATED = "<!-- Written by `python -m lepton_ir.docgen docs/reference`; change the code, not this file. -->"


def operator_reference() -> str:
    """Return the reference of all operators of Lepton itself as Markdown."""
    own = {name: cls for name, cls in REGISTRY.items() if cls.__module__.startswith("lepton_ir.ops.")}
    lines = [_GENERATED, "", "# Operators", "", f"{len(own)} operators, by family.", ""]
    families = _families(own)
    lines += [f"- [{title}](#{_anchor(title)})" for title, _ in families.values()]
    for prefix, (title, about) in families.items():
        lines += ["", f"## {title}", *(["", about] if about else [])]
        for name in sorted(n for n in own if _prefix(n) == prefix):
            lines += ["", *_operator(own[name])]
    return "\n".join(lines) + "\n"


def _families(own: Mapping[str, type[Operation]]) -> dict[str, tuple[str, str]]:
    """Return title and description of each family by its prefix; of those without one, what their modules say."""
    about: dict[str, dict[str, None]] = {}
    for name, cls in own.items():
        about.setdefault(_prefix(name), {})[_summary(inspect.getdoc(sys.modules[cls.__module__]))] = None
    known = {prefix: family for prefix, family in _FAMILIES.items() if prefix in about}
    return known | {p: (p.capitalize(), " ".join(texts)) for p, texts in sorted(about.items()) if p not in known}


def pass_reference() -> str:
    """Return the reference of all installed passes and pipelines as Markdown."""
    load_passes()
    own = {name: cls for name, cls in PASSES.items() if cls.__module__.startswith(("lepton_passes", "lepton_ir"))}
    lines = [
        _GENERATED,
        "",
        "# Passes",
        "",
        f"{len(own)} passes. `leptonc opt --pipeline a,b{{option=value}}` runs them.",
    ]
    for name in sorted(own):
        lines += ["", f"## {name}", "", _markdown(own[name].__doc__)]
        lines += _options(own[name])
    lines += ["", "# Pipelines", ""]
    lines += [f"- `{name}`: `{text}`" for name, text in sorted(PIPELINES.items())]
    return "\n".join(lines) + "\n"


def write(folder: Path) -> list[Path]:
    """Write the references into a folder and return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = {folder / "ops.md": operator_reference(), folder / "passes.md": pass_reference()}
    for path, text in texts.items():
        path.write_text(text, encoding="utf-8")
    return list(texts)


def _prefix(name: str) -> str:
    return name.partition(".")[0] if "." in name else ""


def _anchor(title: str) -> str:
    return title.lower().replace(" ", "-")


def _operator(cls: type[Operation]) -> list[str]:
    spec = cls.spec
    operands = [f.name + ("..." if f.variadic else "?" if f.optional else "") for f in spec.operands]
    results = [f.name + ("..." if f.variadic else "") for f in spec.results]
    arrow = f" -> {', '.join(results)}" if results else ""
    lines = [f"### {spec.name}", "", f"`{spec.name}({', '.join(operands)}){arrow}`", ""]
    lines.append(_markdown(cls.__doc__))
    described = [(f.name, f.doc) for f in (*spec.operands, *spec.results, *spec.regions) if f.doc]
    if described:
        lines += ["", *(f"- `{name}`: {_markdown(doc)}" for name, doc in described)]
    if spec.attributes:
        rows = [(f"`{f.name}`", describe_kind(f.kind), _default(f), f.doc) for f in spec.attributes.values()]
        lines += ["", *_table(("attribute", "is", "default", "meaning"), rows)]
    return [*lines, "", *_facts(cls)]


def _default(field: AttributeField[Any]) -> str:
    if field.required:
        return "required"
    if isinstance(field, PerAxisField):
        return f"{field.unit} everywhere"
    if field.default is None or field.default == ():
        return "none"
    return f"`{str(field.default).lower() if isinstance(field.default, bool) else field.default}`"


def _facts(cls: type[Operation]) -> Iterator[str]:
    facts = [_FUSION[cls.fusion]]
    if hasattr(cls, "decompose"):
        facts.append("decomposes into simpler operators")
    if cls.is_shape_computation:
        facts.append("computes with symbolic dimensions")
    if cls.is_terminator:
        facts.append("terminator")
    yield f"*{'; '.join(facts).capitalize()}.*"
    documented = [_summary(p.__doc__) for p in cls.canonicalizations if p.__doc__]
    if documented:
        yield from ("", "Canonicalizations:", "", *(f"- {text}" for text in documented))


def _summary(doc: str | None) -> str:
    return " ".join(_markdown(doc).split("\n\n")[0].split())


def _markdown(doc: str | None) -> str:
    """Return a docstring's text, its attribute section left out, with code and stars as Markdown has them."""
    text = inspect.cleandoc(doc or "").split("\nAttributes:")[0].strip().replace("``", "`")
    return "`".join(part if i % 2 else part.replace("*", r"\*") for i, part in enumerate(text.split("`")))


def _options(cls: type[Any]) -> list[str]:
    options = fields(cls)
    if not options:
        return []
    notes = _attribute_notes(cls.__doc__ or "")
    rows = []
    for f in options:
        default = "required" if f.default is MISSING else f"`{_spelled(f.default)}`"
        rows.append((f"`{f.name.replace('_', '-')}`", default, notes.get(f.name, "")))
    return ["", *_table(("option", "default", "meaning"), rows)]


def _spelled(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"[{', '.join(map(str, value))}]" if isinstance(value, (tuple, list)) else str(value)


def _attribute_notes(doc: str) -> dict[str, str]:
    """Return what a docstring's ``Attributes:`` section says of each name."""
    notes: dict[str, str] = {}
    _, _, section = inspect.cleandoc(doc).partition("\nAttributes:\n")
    current = ""
    for line in section.split("\n\n")[0].splitlines():
        name, colon, text = line.strip().partition(": ")
        if colon and line.startswith("    ") and not line.startswith("     "):
            current, notes[name] = name, text
        elif current:
            notes[current] += " " + line.strip()
    return notes


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    return [*lines, *(f"| {' | '.join(_markdown(cell).replace('|', chr(92) + '|') for cell in row)} |" for row in rows)]


if __name__ == "__main__":
    for written in write(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/reference")):
        print(written)
