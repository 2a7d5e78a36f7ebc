"""The entry point of ``leptonc``.

Exit codes: 0 success; 1 the check that was asked for failed; 2 wrong usage; 3 the input is at fault (a diagnostic
says how); 4 an internal error; 130 interrupted.
"""

from __future__ import annotations

import os
import sys
import warnings
from typing import TYPE_CHECKING

from lepton_ir.version import __version__

if TYPE_CHECKING:
    import typer

EXIT_CHECK_FAILED, EXIT_BAD_INPUT, EXIT_INTERNAL, EXIT_INTERRUPTED = 1, 3, 4, 130
_DASH_VALUES = ("mcpu", "arch")


def build_app() -> typer.Typer:
    """Return the typer application with a command for every module of this package that defines ``register``."""
    import pkgutil
    from importlib import import_module

    import typer

    import lepton_ir.cli

    app = typer.Typer(
        name="leptonc",
        no_args_is_help=True,
        add_completion=True,
        pretty_exceptions_enable=False,
        rich_markup_mode="markdown",
        help="Lepton, an ahead-of-time compiler for neural networks. Errors are explained; --debug adds tracebacks.",
    )
    for info in sorted(pkgutil.iter_modules(lepton_ir.cli.__path__), key=lambda i: i.name):
        register = getattr(import_module(f"lepton_ir.cli.{info.name}"), "register", None)
        if register is not None:
            register(app)

    @app.callback()
    def root(
        version: bool = typer.Option(False, "--version", help="Print the version and exit."),
    ) -> None:
        if version:
            print(f"leptonc {__version__}")
            raise typer.Exit

    return app


def normalize_arguments(arguments: list[str]) -> list[str]:
    """Accept LLVM's spelling ``-mcpu=x`` and ``-arch=x`` for ``--mcpu x`` and ``--arch x``."""
    out = []
    for argument in arguments:
        key = argument.lstrip("-").partition("=")[0]
        single_dash = argument.startswith("-") and not argument.startswith("--")
        out.append("-" + argument if single_dash and key in _DASH_VALUES else argument)
    return out


def main(arguments: list[str] | None = None) -> int:
    """Run ``leptonc`` and return its exit code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if arguments == ["--version"]:
        print(f"leptonc {__version__}")
        return 0
    debug = "--debug" in arguments
    arguments = normalize_arguments([a for a in arguments if a != "--debug"])
    return _guarded(arguments, debug)


def _guarded(arguments: list[str], debug: bool) -> int:
    import typer

    from lepton_ir.cli import interrupt
    from lepton_ir.diagnostics import LeptonError

    warnings.showwarning = _show_warning
    interrupt.install()
    try:
        result = build_app()(arguments, standalone_mode=False)
        if interrupt.happened():
            return interrupt.report()
        return result if isinstance(result, int) else 0
    except LeptonError as error:
        if interrupt.happened():
            return interrupt.report()
        if debug:
            raise
        print(error, file=sys.stderr)
        return EXIT_BAD_INPUT
    except typer.Exit as done:
        return done.exit_code
    except (KeyboardInterrupt, typer.Abort):
        return interrupt.report()
    except BrokenPipeError:
        return 0
    except Exception as error:
        if interrupt.happened():
            return interrupt.report()
        # Usage errors are click's or, in newer releases, typer's own class: both show themselves.
        if hasattr(error, "show") and hasattr(error, "exit_code"):
            error.show()
            return int(error.exit_code)
        if debug:
            raise
        return _report_internal(error)


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    from lepton_ir.diagnostics import printable

    print(f"warning: {printable(str(message), 2000)}", file=sys.stderr)


def _report_internal(error: Exception) -> int:
    from lepton_ir.diagnostics import printable

    first_line = (str(error).strip().splitlines() or [""])[0]
    reason = printable(first_line, 2000) or type(error).__name__
    print(
        f"error: internal error in Lepton\n  because: {type(error).__name__}: {reason}\n"
        "  help: this is a bug; run again with --debug and report the traceback",
        file=sys.stderr,
    )
    return EXIT_INTERNAL


def script() -> None:
    """Run ``leptonc`` as a program."""
    code = main()
    if code == EXIT_INTERRUPTED:
        # Threads that are still loading libraries would hold up an orderly exit.
        os._exit(code)
    sys.exit(code)


if __name__ == "__main__":
    script()
