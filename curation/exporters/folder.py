"""A directory that appears complete or not at all, with a manifest that proves its files."""

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from embeddings.errors import CurationError

MANIFEST = "manifest.json"
MADE_WITH = "curation-atlas"
MANIFEST_VERSION = 1
_LITTER = (".DS_Store", "Thumbs.db", "desktop.ini")  # what file managers leave behind
FLUSHERS = 8  # files flushed at once: a journaling file system commits them together


@contextmanager
def publish(
    to: Path, *, overwrite: bool, sources: Sequence[str | None] = ()
) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield an empty directory to fill and a manifest to extend; rename to `to` at the end.

    Raises
    ------
    CurationError
        When `to` is in the way, holds one of `sources`, or the disk refuses. Then, and when the
        block raises anything, `to` is as it was and nothing is left beside it.
    """
    target = Path(to).absolute()
    _refuse_target(target, overwrite, sources)
    with _plain_errors(target):
        made = _make_parents(target)
        folder = target.with_name(f".{target.name[:40]}.partial-{secrets.token_hex(4)}")
        try:
            folder.mkdir()
            manifest: dict[str, Any] = {"made_with": MADE_WITH, "version": MANIFEST_VERSION}
            yield folder, manifest
            _seal(folder, manifest)
            _swap(folder, target)
            made = []
        finally:
            if folder.exists():
                shutil.rmtree(folder)
            for parent in made:
                if not any(parent.iterdir()):
                    parent.rmdir()


def verify(path: Path) -> None:
    """Read a finished export again; CurationError names the first file that differs."""
    folder = Path(path)
    listed = _read_manifest(folder)["files"]
    present = {file.relative_to(folder).as_posix() for file in _files(folder)} - {MANIFEST}
    for name in sorted(present | set(listed)):
        if name not in listed:
            raise CurationError(f"{folder / name} is not part of the export; move it elsewhere")
        if name not in present:
            raise CurationError(f"{folder / name} is missing; export again")
        if _entry(folder / name) != listed[name]:
            raise CurationError(f"{folder / name} differs from its manifest; export again")


def _refuse_target(target: Path, overwrite: bool, sources: Sequence[str | None]) -> None:
    if not target.name:
        raise CurationError(f"cannot export to {target}; name a new folder")
    if not os.path.lexists(target):
        return
    if not overwrite:
        raise CurationError(f"{target} exists; choose another folder or say overwrite")
    if target.is_symlink() or not target.is_dir():
        raise CurationError(f"{target} is not a folder; choose another or remove it yourself")
    # overwriting removes the folder: never one of photographs, nor what people put into it since
    if any(target.iterdir()):
        _refuse_strangers(target)
    places = (f"{target}{os.sep}", f"{target.resolve()}{os.sep}")
    within = [path for path in sources if path and path.startswith(places)]
    if within:
        raise CurationError(f"{target} holds {within[0]}, a source of this export; choose another")


def _refuse_strangers(target: Path) -> None:
    listed = {MANIFEST, *_read_manifest(target)["files"]}
    for file in _files(target):
        if file.relative_to(target).as_posix() not in listed and file.name not in _LITTER:
            raise CurationError(f"{file} is not part of the export; move it elsewhere")


def _read_manifest(folder: Path) -> dict[str, Any]:
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CurationError(
            f"{folder} is not an export: its {MANIFEST} cannot be read; choose another folder"
        ) from error
    known = isinstance(manifest, dict) and manifest.get("made_with") == MADE_WITH
    if not known or not isinstance(manifest.get("files"), dict):
        raise CurationError(f"{folder} is not an export of {MADE_WITH}; choose another folder")
    if manifest.get("version", 0) > MANIFEST_VERSION:
        raise CurationError(f"{folder} was written by a newer version; upgrade {MADE_WITH}")
    return dict(manifest)


def _make_parents(target: Path) -> list[Path]:
    """Make the missing folders above `target`; return them, innermost first."""
    missing = [parent for parent in target.parents if not parent.exists()]
    target.parent.mkdir(parents=True, exist_ok=True)
    return missing


def _seal(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Flush every file to disk and write the manifest that lists them."""
    files = _files(folder)
    if folder / MANIFEST in files:
        raise ValueError(f"an exporter must not write {MANIFEST}")
    with ThreadPoolExecutor(FLUSHERS) as pool:
        entries = list(pool.map(_flushed_entry, files))
    listed = {
        file.relative_to(folder).as_posix(): entry
        for file, entry in zip(files, entries, strict=True)
    }
    text = json.dumps({**manifest, "files": listed}, ensure_ascii=False, indent=1)
    (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")
    _flush(folder / MANIFEST)
    for directory in {folder, *(file.parent for file in files)}:
        _flush(directory)


def _swap(folder: Path, target: Path) -> None:
    """Rename `folder` to `target`; what was there goes only after the new one is in place."""
    old = target.with_name(f".{target.name[:40]}.old-{secrets.token_hex(4)}")
    replacing = target.exists()
    if replacing:
        target.rename(old)
    try:
        folder.rename(target)
    except OSError:
        if replacing:
            old.rename(target)
        raise
    _flush(target.parent)
    if replacing:
        shutil.rmtree(old)


def _files(folder: Path) -> list[Path]:
    return sorted(
        Path(directory, name) for directory, _, names in os.walk(folder) for name in names
    )


def _entry(file: Path) -> dict[str, Any]:
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return {"sha256": digest, "bytes": file.stat().st_size}


def _flushed_entry(file: Path) -> dict[str, Any]:
    _flush(file)
    return _entry(file)


def _flush(path: Path) -> None:
    if os.name == "nt" and path.is_dir():
        return  # Windows opens no directories; its renames are journalled
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _plain_errors(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise CurationError(
            f"cannot write {target}: {reason}; free some space or choose another folder"
        ) from error
