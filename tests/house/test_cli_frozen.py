"""The commands and their options are few and do not change by the way."""

from collections.abc import Iterator
from typing import Any

from typer.main import get_command

from armt.cli import app

SAMPLES = ["--tasks", "--lengths", "--num-samples", "--background", "--set"]
COMMANDS = {
    "ask": ["state", "question", "--model"],
    "babilong evaluate": ["subject", "--out", *SAMPLES, "--process"],
    "babilong generate": ["--out", *SAMPLES, "--check"],
    "babilong lm-eval": ["model", "--out", *SAMPLES],
    "babilong report": ["places", "--out", "--title"],
    "babilong score": ["results_folder", "--out"],
    "babilong store": ["--out", "--background", "--set"],
    "bench": ["--out", "what", "--shapes", "--budget", "--set"],
    "compare": ["--out", "setting", "--set"],
    "demo": ["--out"],
    "doctor": [],
    "evaluate": [
        "--out",
        "--model",
        "--task",
        "--lengths",
        "--num-samples",
        "--batch-size",
        "--background",
        "--seed",
    ],
    "inspect": ["sources", "--out", "--model"],
    "list": [],
    "read": ["sources", "--out", "--model", "--from"],
    "reproduce": ["name", "--out", "--seed", "--tiny", "--background"],
    "train": ["name", "--out", "--set", "--tracker"],
}


def commands_in(group: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yields every command of a group, and of the groups in it, with its whole name."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands_in(command, f"{path}{name} ")
        else:
            yield path + name, command


def test_commands_and_options_are_those_agreed_on():
    found = {
        name: [
            opt
            for parameter in command.params
            for opt in (
                parameter.opts if parameter.param_type_name == "option" else [parameter.name]
            )
            if opt != "--help"
        ]
        for name, command in commands_in(get_command(app))
    }
    assert found == COMMANDS


def test_every_command_says_what_it_does():
    for name, command in commands_in(get_command(app)):
        assert command.help, f"`armt {name}` has no help."
        assert all(getattr(each, "help", None) or each.name == "help" for each in command.params)
