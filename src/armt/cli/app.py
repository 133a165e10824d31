"""The commands together, and what becomes of an error."""

from typing import Any

import typer
from typer.core import TyperGroup

from armt.cli.ask import ask
from armt.cli.babilong import babilong
from armt.cli.bench import bench
from armt.cli.compare import compare
from armt.cli.demo import demo
from armt.cli.doctor import doctor
from armt.cli.evaluate import evaluate
from armt.cli.inspect import inspect
from armt.cli.list import list_all
from armt.cli.read import read
from armt.cli.reproduce import reproduce
from armt.cli.train import train
from armt.core.errors import ArmtError, StoppedError

MISTAKE_CODE = 2
"""Exit code after a mistake of the user or of the outside world."""

INTERRUPTED_CODE = 130
"""Exit code after Ctrl-C."""


class ArmtCommands(TyperGroup):
    """Commands whose errors are one line with a remedy."""

    def invoke(self, ctx: Any) -> Any:
        """Runs the command; ends with code 2 after a mistake and 128 + n after signal n."""
        try:
            return super().invoke(ctx)
        except StoppedError as error:
            typer.echo(str(error), err=True)
            raise typer.Exit(error.exit_code) from error
        except ArmtError as error:
            typer.echo(f"Error: {' '.join(str(error).split())}", err=True)
            raise typer.Exit(MISTAKE_CODE) from error
        except KeyboardInterrupt as error:
            typer.echo("Interrupted. Files that were there before are untouched.", err=True)
            raise typer.Exit(INTERRUPTED_CODE) from error


app = typer.Typer(
    name="armt",
    cls=ArmtCommands,
    help="Language models with a memory that never grows.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for _command in (demo, train, evaluate, read, ask, inspect, bench, compare, reproduce, doctor):
    _ = app.command()(_command)
_ = app.command("list")(list_all)
app.add_typer(babilong, name="babilong")


def main() -> None:
    """Runs the command that the process was started with."""
    app()
