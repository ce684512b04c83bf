"""`curate serve`: the app on this machine."""

import ipaddress
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
@click.option(
    "--host",
    default=HOST,
    show_default=True,
    help="Address to listen at; any but this machine's own asks for a login (docs/people.md).",
)
@click.option("--no-browser", is_flag=True, help="Serve, but open no browser.")
def serve(name: str | None, port: int, host: str, no_browser: bool) -> None:
    """Serve the app, to this machine only unless --host says otherwise, and open it here."""
    open_app(name, port, browser=not no_browser, host=host)


def open_app(name: str | None, port: int, *, browser: bool, host: str = HOST) -> None:
    """Become the app's server; returns only by CurationError.

    Raises
    ------
    CurationError
        When there is no such dataset, the port is in use, or others could come in unasked.
    """
    from curation.settings import server_flags
    from embeddings import dataset

    if name is not None:
        dataset.open_dataset(name)
        os.environ["CURATE_DATASET"] = name
    host = _address(host)
    if host != HOST:
        from curation.server import check_door

        check_door(host)
    refuse_used(port, host)
    app = Path(__file__).resolve().parent.parent / "app" / "asgi.py"
    shown = f"[{host}]" if ":" in host else host
    click.echo(f"Curation Atlas on http://{shown}:{port} (Ctrl+C ends it)", err=True)
    sys.stdout.flush()
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a server says is no result
    # -P: what lies in the current folder must not shadow a module
    command = [
        sys.executable,
        "-m",
        "streamlit",
        "run",
        str(app),
        *server_flags(host, port, browser),
    ]
    os.execv(sys.executable, command)  # the same process, so that a signal reaches the server


def _address(host: str) -> str:
    """Return `host` as an IP address: a name could stand for several."""
    try:
        return str(ipaddress.ip_address(HOST if host == "localhost" else host))
    except ValueError as error:
        raise CurationError(
            f"expected an IP address to listen at, got {host[:80]!r}; 0.0.0.0 is all networks"
        ) from error


def refuse_used(port: int, host: str = HOST) -> None:
    """Raise CurationError where the app could not listen on `port`."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise CurationError(
                f"port {port} is in use or not allowed at {host} ({error.strerror}); "
                f"choose another with --port {port + 1 if port < 65535 else PORT}"
            ) from error
