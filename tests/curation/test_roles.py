"""What each role may do: asked at every decision, of whoever is logged in."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from curation import people, roles
from curation.people import ROLES, Person, acting_as
from curation.workspace import EXPORTS, Workspace
from embeddings.errors import CurationError

VIEW, LABEL, ADMIN = (Person(f"{role}@example.org", role) for role in ROLES[1:])
FILE = """# who may do what
default = "view"

[people]
"Ada@example.org" = "admin"  # since the start
bob = "label"
"""


@pytest.fixture
def file(home: Path) -> Path:
    home.mkdir(exist_ok=True)
    path = home / "roles.toml"
    path.write_text(FILE)
    return path


@pytest.fixture
def at_the_door() -> Iterator[list[Person | None]]:
    """Let the test say who is logged in, as the app does for its sessions."""
    who: list[Person | None] = [None]
    before = list(people._asked)
    people.ask(lambda: who[0])
    yield who
    people._asked[:] = before


# ---- the gate


Act = Callable[[Workspace], object]
ACTS: dict[str, Act] = {
    "label": lambda w: w.label(w.select("cluster:1"), "one"),
    "clear": lambda w: w.clear(w.select("cluster:0")),
    "flag": lambda w: w.flag(w.select("cluster:1"), "excluded"),
    "refuse": lambda w: w.refuse(w.select("cluster:1"), "zero"),
    "undo": lambda w: w.undo("tester"),
    "under another name": lambda w: w.label(w.select("cluster:1"), "one", made_by="tester"),
}
WHOLE: dict[str, Act] = {
    "rename": lambda w: w.rename("zero", "null"),
    "merge": lambda w: w.merge(["zero", "two"], "null"),
    "delete": lambda w: w.delete_label("zero"),
}


@pytest.fixture
def workspace(digits: str) -> Workspace:
    found = Workspace(digits)
    found.label(found.select("cluster:0"), "zero")
    found.label(found.select("cluster:2"), "two")
    return found


def test_who_only_looks_decides_nothing_and_who_labels_no_whole_labels(
    workspace: Workspace,
) -> None:
    head = workspace.journal.head
    for act in (ACTS | WHOLE).values():
        with acting_as(VIEW), pytest.raises(CurationError, match="ask an admin for the role"):
            act(workspace)
    for act in WHOLE.values():
        with acting_as(LABEL), pytest.raises(CurationError, match="'admin'"):
            act(workspace)
    assert workspace.journal.head == head
    with acting_as(Person("somebody unknown", "none")), pytest.raises(CurationError):
        ACTS["label"](workspace)


def test_who_has_the_role_decides_under_the_name_of_the_login(workspace: Workspace) -> None:
    with acting_as(LABEL):
        assert workspace.made_by == LABEL.name
        assert workspace.label(workspace.select("cluster:1"), "one").made_by == LABEL.name
        assert workspace.undo().made_by == LABEL.name
        with pytest.raises(CurationError, match="nothing to undo"):
            workspace.undo()
    with acting_as(ADMIN):
        assert workspace.rename("zero", "null").made_by == ADMIN.name
    assert workspace.made_by == "tester", "at one's own keyboard nobody logs in"
    assert workspace.undo().made_by == "tester"


def test_a_role_that_is_taken_away_ends_what_an_open_session_may_do(
    workspace: Workspace, at_the_door: list[Person | None]
) -> None:
    at_the_door[0] = LABEL
    workspace.label(workspace.select("cluster:1"), "one")
    at_the_door[0] = Person(LABEL.name, "view")
    with pytest.raises(CurationError, match="may not decide anything or export; you may look"):
        workspace.undo()
    at_the_door[0] = None
    assert workspace.label(workspace.select("cluster:3"), "three").made_by == "tester"


def test_what_a_request_says_comes_before_what_the_session_says(
    at_the_door: list[Person | None],
) -> None:
    at_the_door[0] = ADMIN
    with acting_as(VIEW):
        assert people.acting() == VIEW
    assert people.acting() == ADMIN


# ---- the file


def test_the_file_is_read_anew_each_time_and_case_is_no_matter(file: Path) -> None:
    assert roles.roles().of("ada@EXAMPLE.org") == "admin"
    assert roles.roles().of("nobody") == "view"
    file.write_text(FILE.replace('"view"', '"none"'))
    assert roles.roles().of("nobody") == "none"
    file.write_text("[people]\n")
    assert roles.roles().of("nobody") == "none", "who is not named has no role"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "does not say what they may do"),
        ("people = 3", "may hold default"),
        ("[people]\nada = 'boss'", "expected one of the roles none, view, label, admin"),
        ("[people", "is not TOML"),
        ("[persons]\nada = 'admin'", "may hold default"),
        (b"\xff", "cannot be read"),
    ],
)
def test_a_file_that_cannot_be_read_lets_nobody_in(
    file: Path, text: str | bytes | None, words: str
) -> None:
    file.unlink()
    if text is not None:
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(CurationError, match=words) as trouble:
        roles.roles()
    assert "roles.toml" in str(trouble.value) and "\n" not in str(trouble.value)


def test_an_admin_gives_a_role_and_all_else_in_the_file_stays(file: Path) -> None:
    with acting_as(ADMIN):
        roles.give("Bob", "admin")
        roles.give("ada@example.org", "view")
        roles.give("carl o'\"hara", "label")
    assert file.read_text() == (
        FILE.replace('bob = "label"', 'bob = "admin"').replace(
            '"Ada@example.org" = "admin"', '"Ada@example.org" = "view"'
        )
        + '"carl o\'\\"hara" = "label"\n'
    )
    assert roles.roles().of("Carl O'\"Hara") == "label"


def test_a_role_is_not_given_by_others_nor_to_nobody_nor_the_last_admins_away(file: Path) -> None:
    with acting_as(LABEL), pytest.raises(CurationError, match="may not change whole labels or rol"):
        roles.give("bob", "admin")
    with pytest.raises(CurationError, match="expected one of the roles"):
        roles.give("bob", "boss")
    with pytest.raises(CurationError, match="expected a name, got an empty text"):
        roles.give(" ", "view")
    with pytest.raises(CurationError, match="is the last admin"):
        roles.give("ada@example.org", "label")
    assert file.read_text() == FILE


def test_a_file_that_is_laid_out_otherwise_is_left_alone(file: Path) -> None:
    other = 'people = { ada = "admin" }\n'
    file.write_text(other)
    with pytest.raises(CurationError, match="edit it by hand"):
        roles.give("bob", "label")
    assert file.read_text() == other


def test_only_an_admin_exports_wherever_the_server_may_write(
    workspace: Workspace, tmp_path: Path
) -> None:
    usual = EXPORTS / tmp_path.name
    with acting_as(Person("vic", "view")), pytest.raises(CurationError, match="or export"):
        workspace.export("csv", usual)
    with acting_as(Person("lea", "label")):
        for to, overwrite in (
            (tmp_path / "out", False),
            (EXPORTS / ".." / "x", False),
            (usual, True),
        ):
            with pytest.raises(CurationError, match="wherever the server may"):
                workspace.export("csv", to, overwrite=overwrite)
    with acting_as(Person("ada", "admin")):
        assert (workspace.export("csv", tmp_path / "out") / "manifest.json").is_file()
