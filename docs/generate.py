"""Write the generated parts of docs/: `cli.md`, from the command line's own help."""

import sys
from collections.abc import Iterator
from pathlib import Path

import click

from curation import cli

TARGET = Path(__file__).with_name("cli.md")
WIDTH = 96
HEAD = """# Command line

Generated from `curate --help` by `make docs`; do not edit. Every command takes `--help`. With
`--json` a command prints one machine-readable object and nothing else on standard output. Messages
and progress go to standard error; a command that could not do its work ends with a status other
than 0.
"""


def group() -> click.Group:
    """Return the command `curate`."""
    (found,) = {item for item in vars(cli).values() if isinstance(item, click.Group)}
    return found


def commands(
    command: click.Command, name: str = "curate", parent: click.Context | None = None
) -> Iterator[tuple[click.Context, click.Command]]:
    """Yield `command` and everything below it, each with a context to ask about it."""
    settings = {**command.context_settings, "max_content_width": WIDTH, "terminal_width": WIDTH}
    context = click.Context(command, parent, info_name=name, **settings)
    yield context, command
    if isinstance(command, click.Group):
        for below in command.list_commands(context):
            found = command.get_command(context, below)
            assert found is not None
            yield from commands(found, below, context)


def page() -> str:
    """Return the text of `cli.md`."""
    parts = [HEAD]
    for context, command in commands(group()):
        title = "" if context.parent is None else f"## {context.command_path}\n\n"
        parts.append(f"{title}```text\n{command.get_help(context).rstrip()}\n```\n")
    return "\n".join(parts)


if __name__ == "__main__":
    TARGET.write_text(page(), encoding="utf-8")
    sys.stdout.write(f"wrote {TARGET}\n")
