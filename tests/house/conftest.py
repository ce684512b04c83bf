"""Commands run as a person would run them, and the distribution as it would be published."""

import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
Run = Callable[..., str]


def _run(
    command: Sequence[str | Path],
    *,
    cwd: Path = ROOT,
    env: Mapping[str, str] | None = None,
    timeout: float = 300,
) -> str:
    """Run `command`, return its standard output; fail with everything it said."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**os.environ, **(env or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    if done.returncode:
        words = " ".join(map(str, command))
        pytest.fail(f"`{words}` ended with {done.returncode}\n{done.stdout}{done.stderr}", False)
    return done.stdout


@pytest.fixture(scope="session")
def root() -> Path:
    """Return the checkout."""
    return ROOT


@pytest.fixture(scope="session")
def run() -> Run:
    """Return the function that runs a command in the checkout."""
    return _run


@dataclass(frozen=True)
class Dist:
    """The two files that would be published."""

    wheel: Path
    sdist: Path


@pytest.fixture(scope="session")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Dist:
    """Build the sdist, and the wheel from the sdist: a file missing there is missing in both."""
    out = tmp_path_factory.mktemp("dist")
    _run([sys.executable, "-m", "build", "--outdir", out, ROOT], timeout=600)
    (wheel,) = out.glob("*.whl")
    (sdist,) = out.glob("*.tar.gz")
    return Dist(wheel, sdist)


@dataclass(frozen=True)
class Installed:
    """A clean environment that holds the wheel and what it needs, and nothing else."""

    bin: Path
    home: Path

    def python(self, code: str) -> str:
        """Run `code` far from the checkout, so that only what is installed can be imported."""
        return _run([self.bin / "python", "-I", "-c", code], cwd=self.home)

    def curate(self, *words: str, timeout: float = 300) -> str:
        """Run the installed `curate` with datasets of its own."""
        env = {"CURATE_HOME": str(self.home / "datasets"), "PYTHONPATH": ""}
        return _run([self.bin / "curate", *words], cwd=self.home, env=env, timeout=timeout)


@pytest.fixture(scope="session")
def installed(dist: Dist, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    """Install the wheel, dependencies included, the way README.md says."""
    folder = tmp_path_factory.mktemp("clean")
    venv.create(folder / "venv", with_pip=True)
    # --no-compile: two thirds of the bytecode that pip would write is never imported here.
    options = ["--quiet", "--no-compile", "--disable-pip-version-check"]
    pinned = ["-c", ROOT / "constraints.txt"]
    _run(
        [folder / "venv/bin/python", "-m", "pip", "install", *options, *pinned, dist.wheel],
        env={"PYTHONPATH": ""},
        timeout=1500,
    )
    yield Installed(folder / "venv/bin", folder)
    shutil.rmtree(folder)  # 2.5 GB: pytest would keep three of them
