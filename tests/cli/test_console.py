"""What is shown is shown as it is: paths and reasons are no markup."""

import io

import pytest
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from armt.cli import babilong_samples
from armt.cli.babilong_samples import byte_bar, count_bar
from armt.cli.console import RareLines, notices, results

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


@pytest.mark.parametrize(("is_terminal", "shown"), [(False, "qa1: 1 of 2\n"), (True, "")])
def test_a_log_gets_a_line_now_and_then_and_a_terminal_none(monkeypatch, is_terminal, shown):
    now = 0.0
    monkeypatch.setattr("armt.cli.console.time.monotonic", lambda: now)
    text = io.StringIO()
    lines = RareLines(Console(file=text, force_terminal=is_terminal))
    lines.show("too early")
    now = 11.0
    lines.show("qa1: 1 of 2")
    lines.show("too early")
    assert text.getvalue() == shown


def test_where_there_is_no_terminal_a_count_is_told_as_a_line(monkeypatch, capsys):
    monkeypatch.setattr("armt.cli.console._LINE_EVERY_S", 0.0)
    with count_bar() as show:
        show(ODD, 1, 2)
    with byte_bar("reading") as show:
        show(1024, 2048)
    assert capsys.readouterr().err.splitlines() == [
        f"{ODD}: 1 of 2",
        "reading: 1.0 KiB of 2.0 KiB",
    ]
