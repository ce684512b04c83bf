"""The house rules that a tool can check. Each failure shows the tool's own words."""

import re
import sys
from collections import Counter
from pathlib import Path

import pytest

# About 400 lines; the module of the map may be twice that before it is split, and a test file is
# read one test at a time.
LONGEST = {".py": 440, ".js": 880}
LONGEST_TESTS = {".py": 600, ".js": 600}


def test_ruff_has_nothing_to_say(run):
    run([sys.executable, "-m", "ruff", "check", "--no-cache"])


def test_every_file_is_formatted(run):
    run([sys.executable, "-m", "ruff", "format", "--check", "--diff", "--no-cache"])


@pytest.mark.slow
def test_both_packages_are_strictly_typed(run):
    run([sys.executable, "-m", "mypy"], timeout=550)


def test_imports_point_one_way(run):
    run([Path(sys.executable).with_name("lint-imports"), "--no-cache"])


def test_no_file_outgrows_the_reader(root):
    long = {}
    for room in ("embeddings", "curation", "tests"):
        limits = LONGEST_TESTS if room == "tests" else LONGEST
        files = [f for f in (root / room).rglob("*") if f.suffix in limits]
        assert files
        counted = {str(f.relative_to(root)): len(f.read_text().splitlines()) for f in files}
        long |= {f: n for f, n in counted.items() if n > limits[Path(f).suffix]}
    assert not long


def test_no_two_files_of_a_module_declare_the_same_name(root):
    """The browser is given them joined into one scope: a second declaration stops all of it."""
    from curation.viewer import component

    name = r"^(?:export )?(?:async )?(?:function|class|const|let) (\w+)"
    for files in (component.MAP_FILES, component.SHEET_FILES, component.CLEAN_FILES):
        texts = [(component.STATIC / file).read_text() for file in files]
        names = Counter(found for text in texts for found in re.findall(name, text, re.MULTILINE))
        assert len(names) > 5
        assert [one for one, count in names.items() if count > 1] == []
