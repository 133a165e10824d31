"""What is shown is shown as it is: paths and reasons are no markup."""

import io

import pytest
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from armt.cli import babilong_samples
from armt.cli.babilong_samples import count_bar
from armt.cli.console import notices, results

ODD = "d[run]/x[/run] [bold]:book:"


@pytest.mark.parametrize("make", [notices, results])
def test_neither_markup_nor_emoji_is_read_from_a_text(make):
    console = make()
    with console.capture() as shown:
        console.print(ODD)
    assert shown.get() == f"{ODD}\n"


def test_nor_from_the_cells_of_a_table():
    console, table = results(), Table(title=ODD, box=None)
    table.add_column(ODD)
    table.add_row(ODD)
    with console.capture() as shown:
        console.print(table)
    assert shown.get().count(ODD) == 3


def test_nor_from_what_a_bar_says(monkeypatch):
    console = Console(file=io.StringIO(), force_terminal=True, width=200, color_system=None)
    monkeypatch.setattr(
        babilong_samples, "_progress", lambda *columns: Progress(*columns, console=console)
    )
    with count_bar() as show:
        show(ODD, 1, 2)
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue()
    assert f"{ODD} " in lines
    assert "\N{OPEN BOOK}" not in lines
