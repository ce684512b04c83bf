"""A disk of a few megabytes, to fill it up or to make it read-only."""

import shutil
import subprocess
from pathlib import Path

import pytest


def on_small_disk(folder: Path, size: str) -> list[str]:
    """Return the command that runs its arguments with a disk of `size` mounted on `folder`.

    The mount is seen by that process alone and ends with it; skips where that cannot be had.
    """
    if not (shutil.which("mount") and shutil.which("unshare")):
        pytest.skip("a small disk needs `mount` and `unshare`, which are not installed")
    folder.mkdir()
    script = ["sh", "-c", f'mount -t tmpfs -o size={size} none "$0" && exec "$@"', str(folder)]
    for prefix in (["unshare", "-rm"], ["unshare", "-m"]):
        command = [*prefix, *script]
        if subprocess.run([*command, "true"], check=False, capture_output=True).returncode == 0:
            return command
    pytest.skip("a small disk needs root or user namespaces, and this machine gives neither")
