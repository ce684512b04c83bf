"""Where datasets live, what they are called, and which schema version wrote them."""

import json
import os
import re
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from embeddings.errors import CurationError

SCHEMA_VERSION = 1
_CARD = "dataset.json"
REPORT = "last_build.json"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class Dataset:
    """A dataset's directory and its card (`dataset.json`)."""

    name: str
    path: Path
    dataset_id: str
    created_at: str
    schema_version: int

    @property
    def tables(self) -> Path:
        """The LanceDB directory."""
        return self.path / "tables"

    @property
    def journal(self) -> Path:
        """The SQLite file of people's decisions."""
        return self.path / "decisions.sqlite"


def home() -> Path:
    """Return the folder of all datasets.

    ``CURATE_HOME`` where it is set, else ``data`` in a checkout, else the platform's user data
    directory.
    """
    chosen = os.environ.get("CURATE_HOME")
    if chosen:
        return Path(chosen).expanduser().absolute()
    checkout = Path(__file__).resolve().parent.parent
    if (checkout / "pyproject.toml").is_file() and (checkout / "app.py").is_file():
        return checkout / "data"
    import platformdirs

    return Path(platformdirs.user_data_dir("curation-atlas", appauthor=False))


def names() -> list[str]:
    """Return the names of the datasets at home, sorted."""
    folder = home()
    if not folder.is_dir():
        return []
    found = [entry.parent.name for entry in folder.glob(f"*/{_CARD}")]
    return sorted(name for name in found if _NAME.fullmatch(name))  # no "digits (copy)"


def newest() -> str:
    """Return the name of the dataset that was built last; CurationError when there is none."""
    known = names()
    if not known:
        raise CurationError(f"no datasets in {home()}; make one with: curate demo")
    return max(known, key=lambda name: (_built_at(home() / name), name))


def _built_at(folder: Path) -> float:
    report = folder / REPORT
    return (report if report.is_file() else folder / _CARD).stat().st_mtime


def open_dataset(name: str) -> Dataset:
    """Return the dataset called `name`.

    Raises
    ------
    CurationError
        When there is none (the message lists those there are), its card is damaged, or it was
        written by a newer version.
    """
    path = home() / check_name(name)
    card = path / _CARD
    if not card.is_file():
        known = ", ".join(names()) or "none yet"
        raise CurationError(f"no dataset {name!r} in {home()}; there are: {known}")
    return _read_card(name, card)


def create_dataset(name: str) -> Dataset:
    """Return the dataset called `name`, made when there is none."""
    path = home() / check_name(name)
    if (path / _CARD).is_file():
        return open_dataset(name)
    card = {
        "schema_version": SCHEMA_VERSION,
        "dataset_id": uuid.uuid4().hex,
        "name": name,
        "created_at": now(),
    }
    try:
        path.mkdir(parents=True, exist_ok=True)
        write_json(path / _CARD, card)
    except OSError as error:
        raise CurationError(
            f"cannot write {path}: {error.strerror}; set CURATE_HOME to a folder you can write"
        ) from error
    return _read_card(name, path / _CARD)


def check_name(name: str) -> str:
    """Return `name` when it can name a dataset, else raise CurationError."""
    if not _NAME.fullmatch(name):
        raise CurationError(
            f"{name[:80]!r} cannot name a dataset; use up to 64 letters, digits, '.', '_' and '-', "
            "beginning with a letter or digit"
        )
    return name


def now() -> str:
    """Return the time as ISO 8601 UTC, microseconds included."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def write_json(path: Path, value: Any) -> None:
    """Write `value` to `path` under a temporary name, then rename."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with temporary.open("w", encoding="utf-8") as file:
        json.dump(value, file, indent=2, ensure_ascii=False)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def _read_card(name: str, card: Path) -> Dataset:
    try:
        value = json.loads(card.read_text(encoding="utf-8"))
        found = Dataset(
            name=name,
            path=card.parent,
            dataset_id=str(value["dataset_id"]),
            created_at=str(value["created_at"]),
            schema_version=int(value["schema_version"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise CurationError(f"{card} is damaged ({error!r}); restore it from a backup") from error
    if found.schema_version > SCHEMA_VERSION:
        raise CurationError(
            f"dataset {name!r} was written by a newer version of curation-atlas (schema "
            f"{found.schema_version}, this one knows {SCHEMA_VERSION}); upgrade curation-atlas"
        )
    return found
