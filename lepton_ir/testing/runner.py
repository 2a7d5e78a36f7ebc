"""Running the ``// RUN:`` lines of a file, in this process."""

from __future__ import annotations

import io
import re
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

_RUN = re.compile(r"(?://|#)\s*RUN:\s*(.*?)\s*$", re.MULTILINE)
_SHOWN = 4000


class RunError(AssertionError):
    """A RUN line failed; the message says how."""


@dataclass
class Output:
    """What a command gave."""

    code: int
    out: str
    err: str


Command = Callable[[list[str], str], Output]


def run_lines(text: str) -> list[str]:
    """Return the commands of the RUN lines, those that end in a backslash joined with the next."""
    joined: list[str] = []
    continued = False
    for match in _RUN.finditer(text):
        line = match[1]
        if continued:
            joined[-1] = f"{joined[-1][:-1].rstrip()} {line}"
        else:
            joined.append(line)
        continued = line.endswith("\\")
    return joined


def run_file(path: Path, scratch: Path) -> None:
    """Run every RUN line of a file.

    In a line, ``%s`` is the file, ``%S`` its folder, and ``%t`` the beginning of a scratch file's name. Commands are
    ``leptonc`` and ``filecheck``, with ``not`` before one that must fail and ``2>&1`` after one whose errors are
    to be read; ``|`` joins them.

    Raises:
        RunError: a command fails.
    """
    for line in run_lines(path.read_text(encoding="utf-8")):
        run_line(line, path, scratch)


def run_line(line: str, path: Path, scratch: Path) -> None:
    """Run one line; see :func:`run_file`."""
    values = {"%s": str(path), "%S": str(path.parent), "%t": str(scratch / path.name), "%%": "%"}
    expanded = re.sub("%[sSt%]", lambda m: values[m[0]] if m[0] == "%%" else shlex.quote(values[m[0]]), line)
    piped = ""
    for command in _commands(expanded):
        piped = _run_command(command, piped, line)


def _commands(line: str) -> Iterator[list[str]]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|")
    lexer.whitespace_split = True
    lexer.commenters = ""
    command: list[str] = []
    for token in [*lexer, "|"]:
        if token == "|":
            yield command
            command = []
        else:
            command.append(token)


def _run_command(words: list[str], piped: str, line: str) -> str:
    """Run one command on ``piped`` and return what it prints."""
    must_fail = words[:1] == ["not"]
    name, *arguments = words[must_fail:] or [""]
    merged = "2>&1" in arguments
    arguments = [a for a in arguments if a != "2>&1"]
    command = COMMANDS.get(name)
    if command is None:
        raise RunError(f"RUN: {line}\n{name!r} is none of the commands that can run here: {', '.join(COMMANDS)}")
    output = command(arguments, piped)
    if must_fail != (output.code != 0):
        expected = "should have failed" if must_fail else f"failed with code {output.code}"
        shown = output.err[-_SHOWN:] or output.out[-_SHOWN:]
        given = f"\n--- its input ---\n{piped[:_SHOWN]}" if piped else ""
        raise RunError(f"RUN: {line}\n{name} {expected}\n{shown}{given}")
    return output.err + output.out if merged else output.out


def _leptonc(arguments: list[str], piped: str) -> Output:
    from lepton_ir.cli.main import main

    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err), _stdin(piped):
        code = main(arguments)
    return Output(code, out.getvalue(), err.getvalue())


def _filecheck(arguments: list[str], piped: str) -> Output:
    try:
        from filecheck.finput import FInput
        from filecheck.matcher import Matcher
        from filecheck.options import parse_argv_options
        from filecheck.parser import Parser
    except ImportError as e:
        raise RunError(f"the filecheck package is missing ({e}): pip install 'lepton-ir[test]'") from e

    err = io.StringIO()
    with redirect_stderr(err):
        options = parse_argv_options(["filecheck", *arguments])
        checks = Parser.from_opts(options)
        code = Matcher(options, FInput("<piped>", piped), checks).run()
    return Output(code, "", err.getvalue())


@contextmanager
def _stdin(text: str) -> Iterator[None]:
    previous, sys.stdin = sys.stdin, io.StringIO(text)
    try:
        yield
    finally:
        sys.stdin = previous


COMMANDS: dict[str, Command] = {"leptonc": _leptonc, "filecheck": _filecheck}
