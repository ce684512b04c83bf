"""Metadata tables become fields of the right images, and say what they could not place."""

import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from embeddings import metadata
from embeddings.errors import CurationError
from embeddings.schema import Location
from embeddings.store import Store

HASHES = {name: f"{number:032x}" for number, name in enumerate(["a/1.jpg", "b/1.jpg", "b/2.jpg"])}


def locations(root: Path) -> list[Location]:
    return [
        Location(str(root / name), 1, 1, "ok", "now", image_id, None, str(root))
        for name, image_id in HASHES.items()
    ]


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet"])
def test_a_table_is_joined_by_path(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"labels{suffix}"
    table = pa.table({"path": ["a/1.jpg", "b/2.jpg", "gone.jpg"], "label": ["x", "y", "z"]})
    if suffix == ".parquet":
        pyarrow.parquet.write_table(table, path)
    else:
        comma = "\t" if suffix == ".tsv" else ","
        rows = [comma.join(row.values()) for row in table.to_pylist()]
        path.write_text("\n".join([f"path{comma}label", *rows]))
    joined = metadata.join(metadata.read(path), tmp_path, locations(tmp_path))
    assert joined.columns == {HASHES["a/1.jpg"]: {"label": "x"}, HASHES["b/2.jpg"]: {"label": "y"}}
    assert (joined.rows, joined.unmatched, joined.conflicts) == (3, 1, 0)


def test_paths_match_from_the_source_absolutely_and_by_a_bare_name_that_is_unique(
    tmp_path: Path,
) -> None:
    table = pa.table(
        {"file": [str(tmp_path / "a/1.jpg"), "b/1.jpg", "2.jpg", "1.jpg"], "n": [1, 2, 3, 4]}
    )
    joined = metadata.join(table, Path("/elsewhere"), locations(tmp_path))
    assert {row["n"] for row in joined.columns.values()} == {1, 2, 3}
    assert joined.unmatched == 1, "1.jpg names two images: it decides nothing"


def test_a_table_is_joined_by_hash(tmp_path: Path) -> None:
    table = pa.table({"SHA256": [HASHES["b/1.jpg"].upper() + "00" * 16], "n": [7]})
    joined = metadata.join(table, tmp_path, locations(tmp_path))
    assert joined.columns == {HASHES["b/1.jpg"]: {"n": 7}}


def test_columns_that_a_table_of_fields_cannot_have_are_renamed_or_passed_over(
    tmp_path: Path,
) -> None:
    path = tmp_path / "pandas.csv"
    path.write_text(",path,field.label,item_id,_rowid\n0,2.jpg,x,y,z\n")
    joined = metadata.join(metadata.read(path), tmp_path, locations(tmp_path))
    fields = {"field_label": "x", "item_id_": "y", "_rowid_": "z"}
    assert joined.columns == {HASHES["b/2.jpg"]: fields}
    merged = metadata.merge(pa.table({"item_id": pa.array([], pa.string())}), [joined.columns])
    store = Store(tmp_path / "tables")
    store.save_fields(merged)
    assert store.fields().column_names == ["item_id", "_rowid_", "field_label", "item_id_"]


def test_two_rows_that_disagree_about_one_image_are_counted(tmp_path: Path) -> None:
    table = pa.table({"path": ["a/1.jpg", "a/1.jpg"], "label": ["shorts", "skirt"]})
    joined = metadata.join(table, tmp_path, locations(tmp_path))
    assert joined.conflicts == 1
    assert joined.columns[HASHES["a/1.jpg"]] == {"label": "shorts"}


def test_folders_become_a_field_and_later_tables_add_to_earlier_ones(tmp_path: Path) -> None:
    folders = metadata.folders(locations(tmp_path))
    first = metadata.merge(pa.table({"item_id": pa.array([], pa.string())}), [folders])
    second = metadata.merge(first, [{HASHES["a/1.jpg"]: {"label": 3}}, {"f" * 32: {"label": "x"}}])
    rows = {row["item_id"]: row for row in second.to_pylist()}
    assert rows[HASHES["a/1.jpg"]] == {
        "item_id": HASHES["a/1.jpg"],
        "folder": "a",
        "label": "3",
    }
    assert rows[HASHES["b/1.jpg"]]["folder"] == "b"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("gone.csv", None, "no such metadata table"),
        ("a.txt", "path\n", "not a .csv"),
        ("a.csv", "label,split\nx,y\n", "has the columns label, split"),
        ("a.csv", "path,label\na,b,c\n", "cannot be read as a table"),
        ("a.csv", "path,label\n1.jpg,W\xe4sche\n", "is not UTF-8"),
        ("a.parquet", "no parquet", "cannot be read as a table"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused(
    tmp_path: Path, name: str, text: str | None, message: str
) -> None:
    if text is not None:
        (tmp_path / name).write_text(text, encoding="latin-1")
    with pytest.raises(CurationError, match=message):
        metadata.read(tmp_path / name)


def _parquet(seed: bytes) -> bytes:
    table = pa.table({"path": ["a/1.jpg", "b/2.jpg"], "n": [1, None], "nested": [{"a": [1]}, None]})
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(table, buffer)
    data = bytearray(buffer.getvalue())
    for at, value in zip(range(0, len(seed) - 1, 2), seed[1::2], strict=False):
        data[seed[at] * len(data) // 256] = value
    return bytes(data)


_CSV = st.text('path,file\t"\n\r1é.;\0\ufeff', max_size=60).map(lambda text: text.encode())


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    suffix=st.sampled_from([".csv", ".tsv", ".parquet"]),
    data=st.one_of(
        st.binary(max_size=80),
        _CSV.map(lambda rows: b"path,label\na/1.jpg,x\n" + rows),
        st.binary(max_size=12).map(_parquet),
    ),
)
def test_whatever_a_table_holds_it_is_joined_or_refused_in_one_line(
    tmp_path: Path, home: Path, suffix: str, data: bytes
) -> None:
    path = tmp_path / f"table{suffix}"
    path.write_bytes(data)
    try:
        table = metadata.read(path)
        joined = metadata.join(table, tmp_path, locations(tmp_path))
    except CurationError as error:
        assert "\n" not in str(error)
        return
    assert set(joined.columns) <= set(HASHES.values())
    Store(tmp_path / "tables").save_fields(
        metadata.merge(pa.table({"item_id": []}), [joined.columns])
    )
