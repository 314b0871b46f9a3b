"""The command line: one command a file, no logic. Exit codes are set here and in the commands, nowhere else."""

from __future__ import annotations

import importlib
import sys

import click

from gradscope import __version__
from gradscope.errors import CannotJudge, GradscopeError

EXIT_DONE, EXIT_NOT_EXPECTED, EXIT_WRONG_USE, EXIT_CANNOT_JUDGE, EXIT_INTERRUPTED = 0, 1, 2, 3, 130

COMMANDS = ("diagnose", "sweep", "check", "compare", "report", "explain", "validate", "schema")


class LazyGroup(click.Group):
    """Imports a command's file only when it is asked for; the files import torch only when they run."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order in which a newcomer meets them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command `cmd_name`, or None where there is none."""
        if cmd_name not in COMMANDS:
            return None
        command = getattr(importlib.import_module(f"gradscope.cli.{cmd_name}"), cmd_name)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that the arguments name; one that is mistyped is answered with the nearest there is."""
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            import difflib

            near = difflib.get_close_matches(args[0].lower(), COMMANDS, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"expected one of {', '.join(COMMANDS)}"
            ctx.fail(f"No such command '{args[0]}'; {hint}")
        return super().resolve_command(ctx, args)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="gradscope")
def group() -> None:
    """Say where the gradient of a network dies, why, and which fix works, by how much, with what certainty."""


def main() -> None:
    """Run the command line; a user's mistake becomes one line on stderr and an exit code."""
    try:
        code = group.main(standalone_mode=False)
    except click.exceptions.Abort:
        print("gradscope: interrupted", file=sys.stderr)
        code = EXIT_INTERRUPTED
    except click.ClickException as error:
        if isinstance(error, getattr(click.exceptions, "NoArgsIsHelpError", ())):  # since click 8.2
            error.show()
        else:
            print(f"gradscope: {' '.join(error.format_message().split())}", file=sys.stderr)
        code = error.exit_code
    except CannotJudge as error:
        print(f"gradscope: {error}", file=sys.stderr)
        code = EXIT_CANNOT_JUDGE
    except GradscopeError as error:
        print(str(error) if getattr(error, "faults", None) else f"gradscope: {error}", file=sys.stderr)
        code = EXIT_WRONG_USE
    sys.exit(code if isinstance(code, int) else EXIT_DONE)
