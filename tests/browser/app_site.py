"""`curate serve` as a process of its own, and how the browser tests work its pages."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from map_site import MAP
from playwright.sync_api import Page

PATIENCE = 60_000  # milliseconds: the machine is shared


class App:
    """`curate serve` as a process of its own, that can be ended and started again."""

    def __init__(self, cwd: Path | None = None, **more: str) -> None:
        """Start it in the folder `cwd`, with more in its environment."""
        self.cwd, self.env = cwd, {**os.environ, **more}
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "curation.cli", "serve", "-d", "digits", "--no-browser"]
        self.process = subprocess.Popen(
            [*command, "--port", str(self.port)], env=self.env, cwd=self.cwd
        )
        for _ in range(300):
            if self.process.poll() is not None:
                raise AssertionError(f"the server ended with {self.process.returncode}")
            try:
                with urllib.request.urlopen(f"{self.url}/_stcore/health", timeout=1):
                    return
            except OSError:
                time.sleep(0.1)
        raise AssertionError("the server did not come up")

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def open_map(page: Page, app: App) -> None:
    page.goto(app.url)
    page.wait_for_selector(f"{MAP}[data-ready='true']")


def wait_for(page: Page, words: str) -> None:
    page.get_by_text(words).first.wait_for()


def choose_label(page: Page, label: str) -> None:
    field = page.get_by_role("combobox", name="Label").first
    field.click()
    field.fill(label)
    page.keyboard.press("Enter")
