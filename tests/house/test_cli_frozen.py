"""The commands and their options are few and do not change by the way."""

from typer.main import get_command

from armt.cli import app

COMMANDS = {
    "ask": ["state", "question", "--model"],
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
    "list": [],
    "read": ["sources", "--out", "--model", "--from"],
    "train": ["name", "--out", "--set", "--tracker"],
}


def test_commands_and_options_are_those_agreed_on():
    commands = get_command(app).commands
    found = {
        name: [
            opt
            for parameter in command.params
            for opt in (
                parameter.opts if parameter.param_type_name == "option" else [parameter.name]
            )
            if opt != "--help"
        ]
        for name, command in commands.items()
    }
    assert found == COMMANDS


def test_every_command_says_what_it_does():
    for name, command in get_command(app).commands.items():
        assert command.help, f"`armt {name}` has no help."
        assert all(getattr(each, "help", None) or each.name == "help" for each in command.params)
