"""Bring your own: vectors, places and clusters made elsewhere become an atlas as they are."""

import os
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from curation.workspace import Workspace
from embeddings.add import add
from embeddings.build import Options, build
from embeddings.dataset import home as datasets_home
from embeddings.dataset import open_dataset
from embeddings.encoders.given import Given
from embeddings.errors import CurationError
from embeddings.project import unit_box
from embeddings.schema import Atlas
from embeddings.store import Store

from .own_tables import COUNT, paths, pictures, vectors, write

OWN = Options()


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return pictures(tmp_path)


def store(name: str) -> Store:
    return Store(open_dataset(name).tables)


def atlas(name: str) -> Atlas:
    return store(name).atlas(store(name).atlas_runs()[-1]["version"])


def by_file(name: str) -> dict[str, int]:
    """Return each file's row on the atlas."""
    places = store(name).places()
    at = atlas(name)
    return {
        os.path.basename(path): int(at.rows_of(np.array([image_id]))[0])
        for image_id, met in places.items()
        for path in met
    }


# ---- round trips


@pytest.mark.parametrize("kind", ["parquet", "npz"])
def test_what_a_dataset_exports_comes_back_as_the_same_atlas(
    digits: str, kind: str, tmp_path: Path
) -> None:
    before, old = atlas(digits), store(digits)
    space = old.vectors(before.space)
    places = old.places()
    files = [places[item_id][0] for item_id in before.item_ids.tolist()]
    cluster = {"cluster" if kind == "parquet" else "clusters": before.cluster}
    path = {"path" if kind == "parquet" else "filenames": np.array(files)}
    axes = {"x": before.xy[:, 0] * 20 - 3, "y": before.xy[:, 1] * 20 + 7}
    place = axes if kind == "parquet" else {"xy": np.stack(list(axes.values()), axis=1)}
    own = write(tmp_path / f"my.{kind}", {**path, "vectors": space.rows, **place, **cluster})
    report = build("own", [own], OWN)
    assert (report.images, report.encoder, report.unreadable) == (1797, "given:my", {})
    after = atlas("own")
    np.testing.assert_array_equal(after.item_ids, before.item_ids)
    kept = store("own").vectors(after.space)
    np.testing.assert_allclose(kept.rows, space.rows, atol=1e-3)
    np.testing.assert_allclose(after.xy, unit_box(before.xy), atol=1e-5)
    np.testing.assert_array_equal(after.cluster, before.cluster)
    np.testing.assert_array_equal(after.membership, before.cluster >= 0)
    np.testing.assert_allclose(after.outlier_score, before.outlier_score, atol=1e-2)
    assert (after.params["layout"], after.params["cluster"]) == ("given", "given")
    workspace = Workspace("own")
    selected = workspace.select("cluster:0")
    assert len(selected) == (before.cluster == 0).sum()
    workspace.label(selected, "mine")
    assert workspace.labels.counts("category") == {"mine": len(selected)}


def test_building_again_computes_nothing_and_without_the_table_is_another_version(
    photos: Path,
) -> None:
    axes = vectors(seed=3)
    own = write(
        photos.parent / "own.parquet",
        {"path": paths(), "vector": vectors(), "x": axes[:, 0], "y": axes[:, 1]},
    )
    first = build("own", [own], OWN)
    again = build("own", [own], OWN)
    assert again.atlas_version == first.atlas_version
    assert (again.unchanged, again.new_vectors) == (COUNT, 0)
    assert not {"encode", "neighbours", "project", "cluster"} & set(again.timings["stages"])
    plain = Options(encoder="given:own", layout="pca")
    without = build("own", [photos], plain)
    assert without.atlas_version != first.atlas_version
    assert (without.encoder, atlas("own").params["layout"]) == ("given:own", "pca")
    assert build("own", [own], OWN).atlas_version == first.atlas_version


def test_other_places_are_another_version(photos: Path) -> None:
    own = photos.parent / "own.parquet"
    versions = set()
    for x in (range(COUNT), range(COUNT, 0, -1)):
        write(own, {"path": paths(), "vector": vectors(), "x": list(x), "y": [0.0] * COUNT})
        versions.add(build("own", [own], OWN).atlas_version)
    assert len(versions) == 2


def test_vectors_of_any_length_become_unit_vectors() -> None:
    rows = np.array([[3, 4], [3e30, 4e30], [3e-40, 4e-40], [0, 0], [np.inf, 1]], np.float32)
    encoder = Given("own", 2, "own.parquet")
    made = encoder.encode(rows)
    np.testing.assert_allclose(made[:3], [[0.6, 0.8]] * 3, atol=1e-4)
    assert not made[3:].any() and made.dtype == np.float32
    np.testing.assert_array_equal(encoder.encode(made), made)
    assert encoder.encode(rows[:0]).shape == (0, 2)
    assert encoder.describe()["dim"] == 2
    with pytest.raises(CurationError, match="given:own has no model"):
        encoder.prepare(PIL.Image.new("RGB", (4, 4)))


# ---- which space


def test_another_table_of_the_model_goes_to_the_same_space(photos: Path) -> None:
    rows = vectors()
    said = {"encoder": "clip-b"}
    own = write(photos.parent / "a.parquet", {"path": paths(20), "vector": rows[:20]}, said)
    more = write(photos.parent / "b.parquet", {"path": paths()[20:], "vector": rows[20:]}, said)
    assert build("own", [own], OWN).encoder == "given:clip-b"
    base = atlas("own")
    report = add("own", [more], OWN)
    assert (report.encoder, report.images) == ("given:clip-b", COUNT)
    grown = atlas("own")
    np.testing.assert_array_equal(grown.xy[grown.rows_of(base.item_ids)], base.xy)
    both = build("both", [own, more], OWN)
    assert (both.encoder, both.images) == ("given:clip-b", COUNT)


def test_two_tables_without_a_name_need_one(photos: Path) -> None:
    parts = [
        write(
            photos.parent / f"part{n}.parquet", {"path": paths()[n::2], "vector": vectors()[n::2]}
        )
        for n in range(2)
    ]
    with pytest.raises(CurationError, match="name it: --encoder given:NAME"):
        build("own", parts, OWN)
    assert build("own", parts, Options(encoder="given:mine")).encoder == "given:mine"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (Options(encoder="builtin"), "brings vectors of its own.*without --encoder"),
        (Options(layout="pca"), "brings places of its own: leave --layout pca away"),
        (Options(dims=3), "brings places of its own: leave --dims 3 away"),
        (Options(cluster="kmeans"), "brings clusters of its own: leave --cluster kmeans away"),
    ],
)
def test_an_option_against_the_table_is_refused_before_anything_is_written(
    options: Options, message: str, photos: Path
) -> None:
    columns = {"path": paths(), "vector": vectors(), "x": range(COUNT), "y": range(COUNT)}
    own = write(photos.parent / "own.parquet", {**columns, "cluster": [0] * COUNT})
    with pytest.raises(CurationError, match=message):
        build("own", [own], options)
    assert not (datasets_home() / "own").exists()


def test_vectors_of_another_length_or_model_are_refused(photos: Path) -> None:
    own = photos.parent / "own.parquet"
    build("own", [write(own, {"path": paths(), "vector": vectors()})], OWN)
    with pytest.raises(CurationError, match=r"8 in the space given:own and 5 in .*own.parquet"):
        build("own", [write(own, {"path": paths(), "vector": vectors(dim=5)})], OWN)
    with pytest.raises(CurationError, match=r"other vectors for 24 of 24 images.*another name"):
        build("own", [write(own, {"path": paths(), "vector": vectors(seed=9)})], OWN)
    one = vectors()
    one[0] = -one[0]
    report = build("own", [write(own, {"path": paths(), "vector": one})], OWN)
    assert any(note.startswith("1 images have other vectors now") for note in report.notes)


def test_an_image_without_a_vector_cannot_join_a_space_without_a_model(photos: Path) -> None:
    own = write(photos.parent / "own.parquet", {"path": paths(), "vector": vectors()})
    build("own", [own], OWN)
    late = photos.parent / "late.png"
    with pytest.raises(CurationError, match="has no model to encode images with"):
        add("own", [late], OWN)
    copy = photos / "copy.png"
    copy.write_bytes((photos / "0.png").read_bytes())
    report = add("own", [photos, late], OWN)
    assert (report.images, report.duplicates) == (COUNT, 1)
    assert sum(report.unreadable.values()) == 1
    later = write(photos.parent / "own2.parquet", {"path": ["late.png"], "vector": vectors(1, 5)})
    assert add("own", [later], OWN).images == COUNT + 1


def test_brought_vectors_do_not_join_an_encoded_space(photos: Path) -> None:
    build("own", [photos], Options(encoder="builtin", layout="pca"))
    own = write(photos.parent / "own.parquet", {"path": paths(), "vector": vectors()})
    with pytest.raises(CurationError, match="do not mix with those of builtin"):
        add("own", [own], OWN)


# ---- the atlas


def test_places_are_scaled_by_one_factor_and_images_without_go_to_their_neighbours(
    photos: Path,
) -> None:
    x = [1000.0 + number for number in range(COUNT)]
    y = [float(number % 2) for number in range(COUNT)]
    x[5] = float("nan")
    own = write(
        photos.parent / "own.parquet", {"path": paths(), "vector": vectors(), "x": x, "y": y}
    )
    report = build("own", [own], OWN)
    at, xy = by_file("own"), atlas("own").xy
    assert np.ptp(xy[:, 0]) == pytest.approx(1) and np.ptp(xy[:, 1]) == pytest.approx(1 / 23)
    assert xy[at["23.png"]][0] == 1 and xy[at["0.png"]][0] == 0
    odd = [xy[at[f"{n}.png"]][1] for n in range(1, COUNT, 2) if n != 5]
    assert min(odd) <= xy[at["5.png"]][1] <= max(odd)  # its clump's row
    assert any("places of 23 of 24 images" in note for note in report.notes)


def test_a_table_may_bring_places_alone_and_the_images_are_encoded(photos: Path) -> None:
    columns = {"path": paths(), "x": range(COUNT), "y": range(COUNT), "z": range(COUNT)}
    own = write(photos.parent / "own.csv", columns)
    report = build("own", [own], Options(encoder="builtin", cluster="dbscan"))
    made = atlas("own")
    assert (report.encoder, made.dims, made.params["cluster"]) == ("builtin", 3, "dbscan")
    at = by_file("own")
    assert made.xy[at["12.png"]] == pytest.approx([12 / 23] * 3)


def test_clusters_alone_keep_their_numbers_and_others_follow_the_majority(photos: Path) -> None:
    cluster: list[int | None] = [70 if number % 2 else 7 for number in range(COUNT)]
    cluster[4], cluster[5], cluster[6] = None, None, -1
    own = write(
        photos.parent / "own.parquet", {"path": paths(), "vector": vectors(), "cluster": cluster}
    )
    build("own", [own], Options(layout="pca"))
    at, made = by_file("own"), atlas("own")
    numbers = [int(made.cluster[at[f"{n}.png"]]) for n in range(COUNT)]
    assert numbers[4:7] == [7, 70, -1]
    assert set(numbers) == {-1, 7, 70}
    assert (made.params["layout"], made.params["cluster"]) == ("pca", "given")
    with pytest.raises(CurationError, match="cannot be fitted again"):
        add("own", [own], OWN, anew=True)


def test_added_places_move_nobody_and_are_told_to_be_unused(photos: Path) -> None:
    columns = {"path": paths(), "vector": vectors(), "x": range(COUNT), "y": range(COUNT)}
    own = write(photos.parent / "own.parquet", columns)
    build("own", [own], OWN)
    before = atlas("own")
    late = {"path": ["late.png"], "vector": vectors(1), "x": [500], "y": [500]}
    report = add("own", [write(photos.parent / "late.parquet", late)], OWN)
    after = atlas("own")
    np.testing.assert_array_equal(after.xy[after.rows_of(before.item_ids)], before.xy)
    assert len(after) == COUNT + 1
    assert any("which are not used: adding moves nobody" in note for note in report.notes)
