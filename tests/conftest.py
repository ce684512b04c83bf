"""What every test may ask for: a home of its own, and the real data where it is."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

# The same examples every time: chance must not decide whether a change lands. For a search with
# fresh ones: HYPOTHESIS_PROFILE=random
settings.register_profile("fixed", derandomize=True, deadline=None)
settings.register_profile("random", deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fixed"))

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("CURATE_TEST_DATA", ROOT.parent / "shared" / "data")).resolve()


@pytest.fixture
def real_data() -> Callable[[str], Path]:
    """Return the folder of a real data set, or skip with the reason."""

    def find(name: str) -> Path:
        folder = DATA / name
        if not folder.exists():
            pytest.skip(f"real data {folder} is absent; set CURATE_TEST_DATA to where it is")
        return folder

    return find


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give every test datasets of its own, never the user's."""
    folder = tmp_path / "home"
    monkeypatch.setenv("CURATE_HOME", str(folder))
    monkeypatch.setenv("CURATE_USER", "tester")
    return folder


@pytest.fixture(scope="session")
def built_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with the dataset `digits`, built once with UMAP and HDBSCAN; never written to."""
    from embeddings.build import Options, build
    from embeddings.samples import digits

    folder = tmp_path_factory.mktemp("built")
    images = digits.render(folder / "images")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CURATE_HOME", str(folder / "home"))
        options = Options(encoder="builtin", metadata=(images / "labels.csv",))
        build("digits", [images], options)
    return folder / "home"


@pytest.fixture
def digits(built_home: Path, home: Path) -> str:
    """The name of a built dataset of 1,797 digits that the test may change."""
    shutil.copytree(built_home, home)
    return "digits"
