"""TorchScript and torch.export archives that are damaged, lie, or try to run something."""

from __future__ import annotations

import json
import struct
import zipfile

import numpy as np
from hostile_case import ACCEPTED, EITHER, With, family

from lepton_ir.testing.script_archive import Instance, Pickle, Raw, write_archive

X = ("--input", "x:2x4:f32")
RELU = "class M(Module):\n  def forward(self: __torch__.M,\n    x: Tensor) -> Tensor:\n    return torch.relu(x)\n"
ROOT = Instance("__torch__.M", {"training": False})


def archive(root=ROOT, code=RELU, options=X, expect="", **more):
    """Return a case with an archive of one class M."""

    def write(folder):
        files = code if isinstance(code, dict) else {"__torch__.py": code}
        return write_archive(folder / "model.pt", root, files, **more)

    return With(write, options=options, expect=expect, reference="the interpreter")


def body(*lines, **more):
    """Return a case whose forward has these lines."""
    text = "class M(Module):\n  def forward(self: __torch__.M,\n    x: Tensor) -> Tensor:\n"
    return archive(code=text + "".join(f"    {line}\n" for line in lines), **more)


def pickled(code):
    """Return a case whose data.pkl is this code."""
    return archive(root=b"\x80\x02" + code + b".")


def attribute(value):
    return archive(Instance("__torch__.M", {"w": value}), _reading())


def _reading():
    return RELU.replace("return torch.relu(x)", "w = self.w\n    return torch.add(x, w)")


def binary(data, name="model.pt"):
    def write(folder):
        path = folder / name
        path.write_bytes(data)
        return path

    return With(write, options=X if name == "model.pt" else ())


def call(name, *arguments):
    module, _, last = name.rpartition(".")
    return f"c{module}\n{last}\n".encode() + Pickle()._code(tuple(arguments)) + b"R"


@family("pickles")
def pickles():
    nested = b"]" * 5000 + b"a" * 4999
    twice = b"](" + b"K\x01K\x01" + b"e"
    for _ in range(40):
        twice = b"(" + twice + b"q\x00h\x00t"
    huge = call("torch._utils._rebuild_tensor_v2", ("storage",), 0, (1 << 60,), (1,))
    return {
        "os.system": pickled(call("os.system", "touch hacked")),
        "posix.system": pickled(call("posix.system", "touch hacked")),
        "builtins.eval": pickled(call("builtins.eval", "1")),
        "builtins.getattr": pickled(call("builtins.getattr", "x", "y")),
        "subprocess.Popen": pickled(call("subprocess.Popen", ["id"])),
        "torch.load": pickled(call("torch.load", "/etc/passwd")),
        "operator.attrgetter": pickled(call("operator.attrgetter", "x")),
        "an instance of os": pickled(b"(ios\nsystem\n"),
        "an object of os": pickled(b"(cos\nsystem\no"),
        "an extension": pickled(b"\x82\x01"),
        "new with arguments": pickled(b"c__torch__\nM\n" + Pickle()._code((1,)) + b"\x81"),
        "a list in itself": pickled(b"]q\x00h\x00a"),
        "nested lists": pickled(nested),
        "doubling": pickled(twice),
        "memo far away": pickled(b"Nr\xff\xff\xff\x7fj\xff\xff\xff\x7f"),
        "a long of 2 GiB": pickled(b"\x8b\xff\xff\xff\x7f\x00"),
        "a string of 4 GiB": pickled(b"X\xff\xff\xff\xff"),
        "an empty stack": pickled(b"a"),
        "no end": archive(root=b"\x80\x02N"),
        "nothing": archive(root=b""),
        "protocol 200": archive(root=b"\x80\xc8N."),
        "a tensor without storage": pickled(huge),
        "a number as the model": pickled(b"K\x01"),
        "a state dictionary": pickled(b"}"),
        "append to a number": pickled(b"K\x01K\x02a"),
        "a dictionary with a list as key": pickled(b"}]K\x01s"),
    }


@family("script archives")
def archives():
    weights = np.ones((2, 4), np.float32)
    half = _bytes(ROOT)[:300]
    return {
        "no zip": binary(b"PK\x03\x04" + b"\0" * 100),
        "half": binary(half),
        "text": binary(b"hello"),
        "no code": archive(code={}),
        "code of another class": archive(code=RELU.replace("class M", "class N")),
        "no forward": archive(code=RELU.replace("forward", "backward")),
        "a bomb": With(_bomb, options=(*X, "--max-memory", "0.01")),
        "two records of one name": With(_twice, options=X),
        "a storage that is missing": archive(
            Instance("__torch__.M", {"w": Raw(_tensor("99", 8, (2, 4), (4, 1)))}), _reading()
        ),
        "a tensor beyond its storage": archive(
            Instance("__torch__.M", {"w": Raw(_tensor("0", 8, (200, 4), (4, 1)))}), _reading(),
            records={"data/0": weights.tobytes()},
        ),
        "a tensor of 2**60 elements": archive(
            Instance("__torch__.M", {"w": Raw(_tensor("0", 8, (1 << 60,), (0,)))}), _reading(),
            records={"data/0": weights.tobytes()},
        ),
        "negative strides": archive(
            Instance("__torch__.M", {"w": Raw(_tensor("0", 8, (2, 4), (-4, 1)))}), _reading(),
            records={"data/0": weights.tobytes()},
        ),
        "more strides than axes": archive(
            Instance("__torch__.M", {"w": Raw(_tensor("0", 8, (2, 4), (4, 1, 1)))}), _reading(),
            records={"data/0": weights.tobytes()},
        ),
        "big-endian": archive(records={"byteorder": b"big"}),
        "compressed": archive(Instance("__torch__.M", {"w": weights}), _reading(), expect=ACCEPTED, stored=False),
        "constants that are no tuple": archive(records={"constants.pkl": b"\x80\x02K\x01."}),
        "a damaged constant": archive(records={"constants.pkl": b"\x80\x02cos\nsystem\n."}),
        "damaged debug information": archive(
            records={"code/__torch__.py.debug_pkl": b"\x80\x02cos\nsystem\n)R."}, expect=EITHER
        ),
        "no input": archive(options=()),
        "an input that is unknown": archive(options=("--input", "z:1:f32", *X)),
        "an input of no type": archive(options=("--input", "x:2x4:float99")),
        "an empty file": binary(b""),
    }  # fmt: skip


def _tensor(key, count, shape, strides):
    code = Pickle()._code
    storage = b"(" + code("storage") + b"ctorch\nFloatStorage\n" + code(key) + code("cpu") + code(count) + b"tQ"
    order = b"ccollections\nOrderedDict\n)R"
    return (
        b"ctorch._utils\n_rebuild_tensor_v2\n("
        + storage
        + code(0)
        + code(shape)
        + code(strides)
        + code(False)
        + (order + b"tR")
    )


def _bytes(root):
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        return write_archive(Path(folder) / "m.pt", root, {"__torch__.py": RELU}).read_bytes()


def _bomb(folder):
    return write_archive(
        folder / "model.pt", ROOT, {"__torch__.py": RELU}, records={"data/0": b"\0" * (1 << 26)}, stored=False
    )


def _twice(folder):
    path = write_archive(folder / "model.pt", ROOT, {"__torch__.py": RELU})
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("model/data.pkl", b"\x80\x02N.")
    return path


@family("scripts")
def scripts():
    deep = "(" * 3000 + "x" + ")" * 3000
    calls = "torch.relu(" * 800 + "x" + ")" * 800
    return {
        "no TorchScript": archive(code="import os\nos.system('id')\n"),
        "an unclosed bracket": body("return torch.relu((x"),
        "deep brackets": body(f"return {deep}", expect=EITHER),
        "deep calls": body(f"return {calls}"),
        "an endless loop": body("while True:", "  y = torch.relu(x)", "return x"),
        "2**40 trips": body("for i in range(1099511627776):", "  y = torch.relu(x)", "return x"),
        "it calls itself": body("return (self).forward(x, )"),
        "a power of a power": body("n = torch.pow(10, torch.pow(10, 10))", "return torch.add(x, n)"),
        "a long list": body("n = torch.mul([1], 1099511627776)", "return torch.add(x, torch.len(n))"),
        "doubling strings": body(
            's = "aaaaaaaaaaaaaaaa"', *["s = torch.add(s, s)"] * 40, "return torch.add(x, torch.len(s))"
        ),
        "doubling lists": body("s = [1, 2]", *["s = torch.add(s, s)"] * 40, "return torch.add(x, torch.len(s))"),
        "doubling tensors": body("y = x", *["y = torch.cat([y, y])"] * 50, "return y"),
        "an unknown operator": body("return torch.frobnicate(x)"),
        "an unknown name": body("return torch.add(x, y)"),
        "an attribute that is missing": body("w = self.w", "return torch.add(x, w)"),
        "a custom class": body("w = __torch__.torch.classes.mine.Thing.make(x)", "return w"),
        "shapes that do not fit": body("return torch.matmul(x, x)"),
        "an index out of range": body("return torch.select(x, 0, 7)"),
        "division by zero": body("n = torch.floordiv(1, 0)", "return torch.add(x, n)"),
        "it raises": body('ops.prim.RaiseException("no", "builtins.ValueError")', "return x"),
        "it returns nothing": body("pass"),
        "it returns a string": body('return "text"'),
        "a method of a tensor that is private": body("return (x).__class__"),
        "dunder attributes": body("w = self.__init__", "return torch.add(x, w)"),
        "2**60 elements": body("return torch.zeros([1073741824, 1073741824])"),
        "a negative size": body("return torch.zeros([-3, 4])"),
        "a number that is too long": body(f"return torch.add(x, {'9' * 5000})"),
        "files of code far away": archive(Instance("__torch__.....etc.passwd", {})),
        "a loop of 100000 small trips": body(
            "y = x", "for i in range(200000):", "  y = torch.relu(y)", "return y"
        ),
    }  # fmt: skip


def export(change, name="model.pt2"):
    """Return a case with a torch.export archive of one relu, changed."""
    tensor = {"dtype": 7, "sizes": [{"as_int": 2}, {"as_int": 4}], "requires_grad": False, "layout": 7,
              "device": {"type": "cpu", "index": None}, "strides": [{"as_int": 4}, {"as_int": 1}],
              "storage_offset": {"as_int": 0}}  # fmt: skip
    node = {"target": "torch.ops.aten.relu.default", "name": "relu", "metadata": {},
            "inputs": [{"name": "self", "arg": {"as_tensor": {"name": "x"}}, "kind": 1}],
            "outputs": [{"as_tensor": {"name": "relu"}}]}  # fmt: skip
    graph = {"inputs": [{"as_tensor": {"name": "x"}}], "outputs": [{"as_tensor": {"name": "relu"}}], "nodes": [node],
             "tensor_values": {"x": tensor, "relu": tensor}, "sym_int_values": {}, "sym_bool_values": {}}  # fmt: skip
    signature = {"input_specs": [{"user_input": {"arg": {"as_tensor": {"name": "x"}}}}],
                 "output_specs": [{"user_output": {"arg": {"as_tensor": {"name": "relu"}}}}]}  # fmt: skip
    program = {"graph_module": {"graph": graph, "signature": signature, "module_call_graph": []},
               "schema_version": {"major": 8, "minor": 1}, "range_constraints": {}}  # fmt: skip
    records = {"data/weights/model_weights_config.json": json.dumps({"config": {}})}
    text = change(program, node, records)
    records["models/model.json"] = text if isinstance(text, (str, bytes)) else json.dumps(program)

    def write(folder):
        with zipfile.ZipFile(folder / name, "w") as file:
            for record, data in records.items():
                file.writestr(f"model/{record}", data)
        return folder / name

    return write


@family("export archives")
def exports():
    def nothing(program, node, records):
        pass

    def target(name):
        return lambda program, node, records: node.update(target=name)

    def version(program, node, records):
        program["schema_version"]["major"] = 99

    def undefined(program, node, records):
        node["inputs"][0]["arg"]["as_tensor"]["name"] = "y"

    def sizes(size):
        def change(program, node, records):
            program["graph_module"]["graph"]["tensor_values"]["x"]["sizes"][0] = size

        return change

    def expression(text):
        return sizes({"as_expr": {"expr_str": text}})

    def weight(**entry):
        def change(program, node, records):
            tensor = program["graph_module"]["graph"]["tensor_values"]["x"]
            spec = {"parameter": {"arg": {"name": "p"}, "parameter_name": "w"}}
            program["graph_module"]["signature"]["input_specs"].insert(0, spec)
            meta = {**tensor, **entry}
            config = {"path_name": "weight_0", "is_param": True, "use_pickle": entry.get("pickle", False)}
            records["data/weights/model_weights_config.json"] = json.dumps(
                {"config": {"w": {**config, "tensor_meta": meta}}}
            )
            records["data/weights/weight_0"] = struct.pack("<8f", *range(8))

        return change

    return {
        "valid": With(export(nothing), expect=ACCEPTED, reference="the interpreter"),
        "no JSON": export(lambda *_: b"{"),
        "deep JSON": export(lambda *_: "[" * 100000),
        "another kind of JSON": export(lambda *_: "[1, 2]"),
        "a version from the future": export(version),
        "an unknown operator": export(target("torch.ops.aten.frobnicate.default")),
        "a custom operator": export(target("torch.ops.mine.relu.default")),
        "os.system": export(target("os.system")),
        "a Python function": export(target("_operator.attrgetter")),
        "an undefined name": export(undefined),
        "a negative size": export(sizes({"as_int": -2})),
        "a size of 2**70": export(sizes({"as_int": 1 << 70})),
        "a size that is code": export(expression("__import__('os').system('id')")),
        "a size that is deep": export(expression("Add(" * 5000 + "Integer(1)" + ")" * 5000)),
        "a weight that is pickled": export(weight(pickle=True)),
        "a weight that is too large": export(weight(sizes=[{"as_int": 1 << 40}, {"as_int": 4}])),
        "a weight with negative strides": export(weight(strides=[{"as_int": -4}, {"as_int": 1}])),
        "a weight of an unknown type": export(weight(dtype=77)),
        "no program": With(_no_program),
    }


def _no_program(folder):
    path = folder / "model.pt2"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("model/version", "1")
    return path
