"""The command line: `curate`. Imports nothing heavy until a command needs it."""

import sys

import click

from curation.cli import decide, export, make, names, serve, show, together
from curation.cli.output import Trouble
from embeddings import __version__
from embeddings.errors import CurationError

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


@click.group(context_settings=CONTEXT)
@click.version_option(__version__, prog_name="curate")
def curate() -> None:
    """From a folder of photographs to labelled sets: embed, map, lasso, label, undo, export.

    Datasets live in CURATE_HOME (default: ./data in a checkout, else your user data folder).
    """


for command in (
    make.demo,
    make.build,
    make.add,
    make.relocate,
    show.list_datasets,
    show.files,
    serve.serve,
    decide.label,
    decide.flag,
    decide.undo,
    decide.redo,
    decide.log,
    names.rename,
    names.merge,
    names.unlabel,
    names.refuse,
    together.conflicts,
    together.agreement,
    together.review,
    show.check,
    show.score,
    export.export,
    show.info,
):
    curate.add_command(command)


def main() -> None:
    """Run the command line; what a person can act on is one line, all else a traceback."""
    try:
        curate.main(prog_name="curate", standalone_mode=False)
    except CurationError as error:
        sys.exit(Trouble(str(error)).show(sys.argv))
    except click.ClickException as error:
        sys.exit(_misused(error))
    except (click.Abort, KeyboardInterrupt):
        click.echo("stopped; what was done is kept, the same command goes on from here", err=True)
        sys.exit(130)


def _misused(error: click.ClickException) -> int:
    if len(sys.argv) == 1:  # `curate` alone: what click calls an error is the help
        error.show()
        return error.exit_code
    context = error.ctx if isinstance(error, click.UsageError) else None
    hint = "" if context is None else f"; see: {context.command_path} --help"
    Trouble(error.format_message().rstrip(".") + hint).show(sys.argv)
    return error.exit_code
