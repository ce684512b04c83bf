"""Documentation that is run, parsed, or held against what it documents."""

import importlib.util
import os
import re
import shlex
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import click
import numpy as np
import PIL.Image
import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "data" / "README.md"])
GROUPS = ("encoders", "layouts", "clusterers", "checks", "exporters")
ENTRIES = [(g, e.name) for g in GROUPS for e in entry_points(group=f"curation_atlas.{g}")]


def _name(page):
    return str(page.relative_to(ROOT))


def _generator():
    spec = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs" / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def generate():
    return _generator()


@pytest.fixture(scope="module")
def commands(generate):
    """Return what can be typed: command path -> its options."""
    return {
        context.command_path: {"--help", *(o for p in command.params for o in _spellings(p))}
        for context, command in generate.commands(generate.group())
    }


def _spellings(parameter):
    return [*parameter.opts, *parameter.secondary_opts]


def _shell_lines(page):
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.replace("\\\n", " ").splitlines() if line]


def _words(line):
    return shlex.split(line, comments=True)


def _typed(page):
    """Yield every `curate ...` of a page: its shell lines, and its code in running text."""
    yield from (line for line in _shell_lines(page) if line.startswith("curate "))
    prose = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    yield from (code for code in re.findall(r"`(curate [^`]+)`", prose))


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_every_command_that_a_page_shows_exists_with_its_options(page, commands):
    for line in _typed(page):
        words = _words(line)
        path = "curate" if words[1].startswith("-") else f"curate {words[1]}"
        assert path in commands, line
        options = {word.split("=")[0] for word in words if re.fullmatch(r"--?[a-z][^ ]*", word)}
        assert options <= commands[path], line


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_every_link_between_pages_leads_somewhere(page):
    targets = re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8"))
    local = [target for target in targets if not re.match(r"[a-z]+:", target)]
    assert not [target for target in local if not (page.parent / target).exists()]


def test_the_command_line_page_is_what_the_help_says(generate):
    assert generate.TARGET.read_text(encoding="utf-8") == generate.page(), "run `make docs`"


def test_every_command_says_what_it_and_its_options_are_for(generate):
    for context, command in generate.commands(generate.group()):
        assert command.help, context.command_path
        options = [p for p in command.params if isinstance(p, click.Option)]
        assert not [p.opts for p in options if not p.help], context.command_path


def test_every_registry_has_entries():
    assert {group for group, _ in ENTRIES} == set(GROUPS)


@pytest.mark.parametrize(("group", "name"), ENTRIES)
def test_every_registry_entry_is_introduced_on_the_page_of_its_kind(group, name):
    page = ROOT / "docs" / f"{group}.md"
    assert page.is_file(), f"write {page.relative_to(ROOT)}"
    opens_a_section_or_a_row = re.compile(rf"^(?:#+|\||-) *`{name}\b", re.MULTILINE)
    assert opens_a_section_or_a_row.search(page.read_text(encoding="utf-8"))


def test_the_index_leads_to_every_page():
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    pages = [page.name for page in (ROOT / "docs").glob("*.md") if page.name != "README.md"]
    assert not [name for name in pages if f"]({name})" not in index]


def test_every_environment_variable_is_documented():
    sources = [f.read_text() for p in ("embeddings", "curation") for f in (ROOT / p).rglob("*.py")]
    read = set(re.findall(r"""["'](CURATE_[A-Z_]+)["']""", "\n".join(sources)))
    told = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert "CURATE_HOME" in read
    assert not {name for name in read if name not in told}


def test_every_version_that_a_page_pins_is_the_tested_one():
    pins = set((ROOT / "constraints.txt").read_text().split())
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    quoted = set(re.findall(r"\b[a-z_-]+==[0-9][0-9.]*[0-9]", text))
    assert quoted
    assert quoted <= pins


def test_every_make_target_that_a_page_names_exists(run):
    menu = {line.split()[1] for line in run(["make", "help"]).splitlines() if "make " in line}
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    named = set(re.findall(r"(?:`|^)make ([a-z]+)", text, re.MULTILINE))
    assert {"run", "test"} <= named <= menu


def test_the_file_that_streamlit_is_told_to_run_holds_the_app():
    from streamlit.web.server.app_discovery import discover_asgi_app

    assert any(line == "streamlit run app.py" for line in _shell_lines(ROOT / "README.md"))
    found = discover_asgi_app(ROOT / "app.py")
    assert found.import_string == "app:app"


def _photographs(folder, n=40):
    """Write two kinds of picture that nobody takes for one another."""
    random = np.random.default_rng(7)
    folder.mkdir()
    for i in range(n):
        warm = np.full((64, 64, 3), (200, 80, 40)) + random.integers(-30, 30, (64, 64, 3))
        stripes = np.where(np.arange(64)[:, None] // 4 % 2, 230, 20)[:, :, None]
        cold = np.broadcast_to(stripes, (64, 64, 3)) * (0.3, 0.6, 1.0) + random.integers(0, 25)
        for kind, pixels in (("warm", warm), ("cold", cold)):
            image = PIL.Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
            image.save(folder / f"{kind}{i:03}.png")


@pytest.mark.slow
def test_the_walk_through_the_readme_works_as_written(tmp_path):
    _photographs(tmp_path / "photos")
    lines = [line for line in _shell_lines(ROOT / "README.md") if line.startswith("curate ")]
    walk = [line for line in lines if _words(line)[1] not in ("serve", "demo")]
    assert len(walk) >= 5
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-euxc", "\n".join(walk)],
        cwd=tmp_path,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert list((tmp_path / "sneakers" / "sneaker").glob("*.png")), "nothing was exported"
    assert (tmp_path / "sneakers" / "manifest.json").is_file()
