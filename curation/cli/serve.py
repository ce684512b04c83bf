"""`curate serve`: the app on this machine."""

import os
import socket
import sys
from pathlib import Path

import click

from embeddings.errors import CurationError

PORT = 8501
HOST = "127.0.0.1"
PORTS = click.IntRange(1, 65535)


@click.command()
@click.option("-d", "--dataset", "name", help="Dataset to open first.  [default: the newest]")
@click.option("--port", type=PORTS, default=PORT, show_default=True, help="Port of the app.")
@click.option("--no-browser", is_flag=True, help="Serve, but open no browser.")
def serve(name: str | None, port: int, no_browser: bool) -> None:
    """Serve the app on 127.0.0.1 and open it in the browser."""
    open_app(name, port, browser=not no_browser)


def open_app(name: str | None, port: int, *, browser: bool) -> None:
    """Become the app's server; returns only by CurationError.

    Raises
    ------
    CurationError
        When there is no such dataset, or the port is in use.
    """
    from curation.settings import server_flags
    from embeddings import dataset

    if name is not None:
        dataset.open_dataset(name)
        os.environ["CURATE_DATASET"] = name
    refuse_used(port)
    app = Path(__file__).resolve().parent.parent / "app" / "asgi.py"
    click.echo(f"Curation Atlas on http://{HOST}:{port} (Ctrl+C ends it)", err=True)
    sys.stdout.flush()
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a server says is no result
    # -P: what lies in the current folder must not shadow a module
    command = [
        sys.executable,
        "-m",
        "streamlit",
        "run",
        str(app),
        *server_flags(HOST, port, browser),
    ]
    os.execv(sys.executable, command)  # the same process, so that a signal reaches the server


def refuse_used(port: int) -> None:
    """Raise CurationError where the app could not listen on `port`."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise CurationError(
                f"port {port} is in use or not allowed ({error.strerror}); "
                f"choose another with --port {port + 1 if port < 65535 else PORT}"
            ) from error
