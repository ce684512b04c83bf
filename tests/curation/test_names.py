"""Suggested names: from labels nearby, imported names, and the words of an encoder."""

import numpy as np
import pytest
from PIL import Image

from curation.app.components.cleaning import Desk
from curation.learning.names import Vocabulary, Words, suggest, text_encoder, vocabulary
from curation.learning.words import COMMON
from curation.workspace import Workspace
from embeddings import encoders
from embeddings.build import Options, build
from embeddings.errors import CurationError

from ..embeddings.encoder_examples import tiny_clip, words_clip

NOBODY = np.full(6, -1, np.int32)
VECTORS = np.eye(6, dtype=np.float32)
ALONE = np.full((6, 2), -1, np.int32)


class Wordy:
    """An encoder that counts how often it is asked for words; each word has its own direction."""

    encoder_id, dim, min_side, batch_size = "wordy", 6, 8, 4

    def __init__(self):
        self.asked = []

    def prepare(self, image):
        return np.asarray(image)

    def encode(self, batch):
        return np.eye(6, dtype=np.float32)[: len(batch)]

    def describe(self):
        return {}

    def encode_text(self, texts):
        self.asked += texts
        return np.eye(6, dtype=np.float32)[: len(texts)]


def names(found):
    return [one.name for one in found]


def test_a_label_that_the_set_carries_leads_and_says_how_many():
    codes = np.array([1, 1, 0, -1, -1, -1], np.int32)
    found = suggest(np.arange(4), VECTORS, ALONE, codes, ["hat", "shoe"])
    assert names(found) == ["shoe", "hat"]
    assert found[0].why == "2 of these carry it"
    assert found[0].score == pytest.approx(2 / 7)


def test_labels_beside_the_set_are_suggested_without_any_inside():
    codes = np.array([-1, -1, -1, 0, 0, 1], np.int32)
    near = np.array([[3, 4], [3, 5], [1, -1], [4, 0], [3, 0], [1, 0]], np.int32)
    found = suggest(np.arange(3), VECTORS, near, codes, ["hat", "shoe"])
    assert names(found) == ["hat"]
    assert found[0].why == "2 lie beside it"


def test_an_items_own_label_counts_for_more_than_its_neighbours():
    codes = np.array([0, 1, 1, 1, -1, -1], np.int32)
    near = np.array([[1, 2], [2, 3], [1, 3], [1, 2], [5, -1], [4, -1]], np.int32)
    found = suggest(np.arange(1), VECTORS, near, codes, ["hat", "shoe"])
    assert names(found) == ["hat"]


def test_an_item_votes_for_the_most_common_of_its_neighbours_and_unused_labels_cost_nothing():
    codes = np.array([-1, -1, 9, 9, 4, 10**6], np.int32)
    near = np.array([[4, 3, 2], [5, 4, -1], [0, 1, 3], [0, 1, 2], [0, 1, 2], [0, 1, 2]], np.int32)
    legend = ["unused"] * (10**6 + 1)
    legend[9], legend[4] = "hat", "shoe"
    found = suggest(np.arange(2), VECTORS, near, codes, legend)
    assert [(one.name, one.score) for one in found] == [("shoe", 0.2), ("hat", 0.2)]


def test_imported_names_count_for_their_share():
    imported = np.array(["cat", "cat", "dog", None], object)
    found = suggest(np.arange(4), VECTORS, ALONE, NOBODY, [], imported=imported)
    assert names(found) == ["cat", "dog"]
    assert found[0].why == "2 of 4 were imported with it"


def test_one_name_from_two_sources_is_one_suggestion_with_both_reasons():
    codes = np.array([0, -1, -1, -1, -1, -1], np.int32)
    imported = np.array(["shoe"] * 6, object)
    found = suggest(np.arange(6), VECTORS, ALONE, codes, ["Shoe"], imported=imported)
    assert names(found) == ["Shoe"]
    assert found[0].score == pytest.approx(6 / 9)
    assert found[0].why == "1 of these carry it; 6 of 6 were imported with it"


def test_words_are_chosen_by_the_items_that_are_nearest_to_them():
    words = Vocabulary(("cat", "dog"), np.eye(6, dtype=np.float32)[:2], "wordy")
    vectors = np.eye(6, dtype=np.float16)[[0, 0, 0, 1, 1, 1]]
    found = suggest(np.arange(4), vectors, ALONE, NOBODY, [], vocabulary=words)
    assert names(found) == ["cat", "dog"]
    assert found[0].why == "the nearest word of 75%"


def test_few_items_are_less_convincing_than_many_of_the_same_share():
    imported = np.array(["cat"] * 6, object)
    few = suggest(np.arange(1), VECTORS, ALONE, NOBODY, [], imported=imported[:1])
    many = suggest(np.arange(6), VECTORS, ALONE, NOBODY, [], imported=imported)
    assert few[0].score < many[0].score < 1


def test_no_more_than_asked_for_and_nothing_for_nothing():
    imported = np.array(list("abcdef"), object)
    assert names(suggest(np.arange(6), VECTORS, ALONE, NOBODY, [], imported=imported, limit=2)) == [
        "a",
        "b",
    ]
    assert suggest(np.zeros(0, int), VECTORS, ALONE, NOBODY, []) == []
    assert suggest(np.arange(6), VECTORS, ALONE, NOBODY, []) == []


def test_words_are_encoded_once_and_read_again_from_the_folder(tmp_path):
    encoder = Wordy()
    first = vocabulary(encoder, ["cat", "dog", "cat"], folder=tmp_path / "words")
    assert encoder.asked == ["a photo of a cat", "a photo of a dog"]
    again = vocabulary(encoder, ["cat", "dog"], folder=tmp_path / "words")
    assert len(encoder.asked) == 2
    assert again.words == first.words == ("cat", "dog")
    assert np.array_equal(again.rows, first.rows)
    assert [file.suffix for file in (tmp_path / "words").iterdir()] == [".npy"]


def test_other_words_prompts_and_encoders_are_kept_apart(tmp_path):
    encoder = Wordy()
    vocabulary(encoder, ["cat"], folder=tmp_path)
    vocabulary(encoder, ["cat"], folder=tmp_path, prompt="{}")
    vocabulary(encoder, ["dog"], folder=tmp_path)
    other = Wordy()
    other.encoder_id = "other"
    vocabulary(other, ["cat"], folder=tmp_path)
    assert len(list(tmp_path.iterdir())) == 4


def test_an_encoder_without_words_says_what_to_do_instead():
    builtin = encoders.load("builtin")
    with pytest.raises(CurationError, match="builtin.* knows no words: .* --encoder fast"):
        vocabulary(builtin, ["cat"])
    with pytest.raises(CurationError, match="knows no words"):
        text_encoder("builtin", builtin.encoder_id)


def test_words_of_another_encoder_than_the_spaces_are_refused():
    with pytest.raises(CurationError, match="expected other:1, got "):
        text_encoder("builtin", "other:1")
    words = Vocabulary(("cat",), np.ones((1, 3), np.float32), "small")
    with pytest.raises(CurationError, match="expected words of 6 numbers, got 3"):
        suggest(np.arange(2), VECTORS, ALONE, NOBODY, [], vocabulary=words)


def test_a_prompt_without_a_place_for_the_word_is_refused():
    with pytest.raises(CurationError, match="expected a prompt with {} where the word goes"):
        vocabulary(Wordy(), ["cat"], prompt="a photo")


def test_the_common_words_are_hundreds_of_names_each_once() -> None:
    assert 600 < len(COMMON) == len({word.casefold() for word in COMMON})
    assert {"shoe", "dog", "bottle"} <= set(COMMON)
    assert all(word == " ".join(word.split()) and "," not in word for word in COMMON)


def test_what_people_call_things_comes_before_the_words_of_the_encoder():
    words = Vocabulary(("cat", "shoe"), np.eye(6, dtype=np.float32)[:2], "wordy")
    vectors = np.eye(6, dtype=np.float16)[[0] * 6]
    codes = np.array([0, -1, -1, -1, -1, -1], np.int32)
    found = suggest(np.arange(6), vectors, ALONE, codes, ["pet"], vocabulary=words)
    assert names(found) == ["pet", "cat"] and found[0].score < found[1].score


def test_a_word_that_few_items_are_nearest_to_is_not_suggested():
    words = Vocabulary(("cat", "dog"), np.eye(6, dtype=np.float32)[:2], "wordy")
    vectors = np.eye(6, dtype=np.float16)[[0, 0, 0, 0, 0, 1]]
    assert names(suggest(np.arange(6), vectors, ALONE, NOBODY, [], vocabulary=words)) == ["cat"]


def test_words_are_made_once_and_then_read(tmp_path):
    spec = tiny_clip(tmp_path)
    made = encoders.load(spec, device="cpu")
    first = Words(spec, made.encoder_id, made.dim, tmp_path / "words").ready(120)
    assert first is not None and first.words == COMMON
    np.testing.assert_allclose(np.linalg.norm(first.rows, axis=1), 1, atol=1e-5)
    gone = "open_clip:nobody/knows"  # read again, nothing is loaded
    again = Words(gone, made.encoder_id, made.dim, tmp_path / "words").ready(120)
    assert again is not None and np.array_equal(again.rows, first.rows)


def cut_short(file):
    file.write_bytes(file.read_bytes()[:-100])


def emptied(file):
    file.write_bytes(b"")


def of_fewer_words(file):
    np.save(file, np.load(file)[:-1])


def of_another_length(file):
    np.save(file, np.load(file)[:, :-1])


@pytest.mark.parametrize("damaged", [cut_short, emptied, of_fewer_words, of_another_length])
def test_words_that_are_damaged_are_made_anew(damaged, tmp_path, caplog):
    spec = tiny_clip(tmp_path)
    made = encoders.load(spec, device="cpu")
    first = Words(spec, made.encoder_id, made.dim, tmp_path / "words").ready(120)
    (file,) = (tmp_path / "words").iterdir()
    whole = file.read_bytes()
    damaged(file)
    again = Words(spec, made.encoder_id, made.dim, tmp_path / "words").ready(120)
    assert again is not None and np.array_equal(again.rows, first.rows)
    assert list((tmp_path / "words").iterdir()) == [file] and file.read_bytes() == whole
    assert caplog.text.count("is damaged and is made anew") == 1


def test_words_that_cannot_be_written_are_there_all_the_same(tmp_path, caplog):
    (tmp_path / "words").write_text("a file where the folder should be")
    spec = tiny_clip(tmp_path)
    made = encoders.load(spec, device="cpu")
    words = Words(spec, made.encoder_id, made.dim, tmp_path / "words")
    found = words.ready(120)
    assert found is not None and found.words == COMMON and not words.why
    assert "cannot be written" in caplog.text


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ("builtin", "knows no words"),
        ("vectors:mine", "unknown encoder"),
        ("open_clip:ViT-B-32/laion2b_s34b_b79k", "not on this machine"),
    ],
)
def test_without_a_text_tower_at_hand_there_are_no_words_and_nothing_is_loaded(
    spec, why, tmp_path, monkeypatch
):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "empty"))
    encoder_id = encoders.load(spec).encoder_id if spec == "builtin" else spec
    words = Words(spec, encoder_id, 24, tmp_path / "words")
    assert words.ready(120) is None and why in words.why
    assert not (tmp_path / "words").exists()


def test_a_real_text_tower_names_photographs(tmp_path, real_data):
    encoder = encoders.load(words_clip(tmp_path, real_data), device="cpu")
    lines = (real_data("photos_clothing") / "labels.csv").read_text().splitlines()[1:]
    files = [line.split(",")[0] for line in lines if line.split(",")[1] == "shoes"][:8]
    prepared = []
    for file in files:
        with Image.open(real_data("photos_clothing") / file) as image:
            prepared.append(encoder.prepare(image.convert("RGB")))
    vectors = encoder.encode(np.stack(prepared))
    things = ["cowboy hat", "running shoe", "gown", "banana", "airliner", "teapot", "tabby"]
    words = vocabulary(encoder, things, prompt="{}", folder=tmp_path / "kept")
    rows, nobody = np.arange(len(vectors)), np.full(len(vectors), -1, np.int32)
    alone = np.zeros((len(vectors), 0), np.int32)
    found = suggest(rows, vectors, alone, nobody, [], vocabulary=words)
    assert found[0].name == "running shoe"  # it knows ImageNet's words only


def test_a_sheet_without_a_label_is_given_a_name_from_words_and_nothing_is_labelled(
    tmp_path, real_data, home
):
    spec = words_clip(tmp_path, real_data)
    lines = (real_data("photos_clothing") / "labels.csv").read_text().splitlines()[1:]
    files = [line.split(",")[0] for line in lines if line.split(",")[1] == "shoes"][:24]
    photographs = [real_data("photos_clothing") / file for file in files]
    build("shoes", photographs, Options(encoder=spec, device="cpu"))
    desk = Desk(workspace := Workspace("shoes"), workspace.newest_version())
    desk.shown()  # does not wait for the words
    words = desk.helper._words
    assert words is not None and words.ready(120) is not None, words and words.why
    sheet = desk.shown()["sheets"][0]
    assert sheet["proposed"] is None and set(words.ready().words) == set(COMMON)
    suggested = sheet["names"][0]
    assert suggested["name"] in COMMON and "the nearest word of" in suggested["why"]
    assert workspace.journal.head == 0 and desk.helper.progress().labelled == 0
