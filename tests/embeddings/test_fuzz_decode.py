"""Damage without end: whatever the bytes are, an image comes out, or a reason."""

import gc
import os
import random
import time
import tracemalloc

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from embeddings import formats, images
from embeddings.images import Decoded, UnreadableImage

from . import hostile

SECONDS = float(os.environ.get("CURATE_TEST_FUZZ_SECONDS", "0"))
SLOWEST = 5.0  # seconds for one file of a few kilobytes, on a machine that is busy with others
KINDS = [
    kind
    for kind in hostile.kinds()
    if not kind.reason and kind.data and len(kind.data) < 8000 and kind.size != (30_000, 20)
]
SEEDS = {
    suffix: [kind.data for kind in KINDS if kind.name.lower().endswith(suffix)]
    for suffix in sorted({os.path.splitext(kind.name)[1].lower() for kind in KINDS} - {""})
}
WORTH = (0, 1, 0x7F, 0x80, 0xFF)
LENGTHS = (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\1")
STEPS = ("byte", "length", "cut", "repeat", "zeros", "swap", "splice")


def damaged(data: bytes, chance: random.Random, other: bytes) -> bytes:
    """Return `data` after a few of the things that happen to files."""
    for _ in range(chance.randint(1, 6)):
        # headers are short, and most of what can go wrong goes wrong there
        at = chance.randrange(min(len(data), chance.choice((40, 300, 10**9))) or 1)
        step = chance.choice(STEPS)
        if step == "byte":
            value = chance.choice((*WORTH, chance.randrange(256)))
            data = data[:at] + bytes((value,)) + data[at + 1 :]
        elif step == "length":
            value = chance.choice(LENGTHS)
            data = data[:at] + value + data[at + len(value) :]
        elif step == "cut":
            data = data[: max(at, 4)] if chance.random() < 0.3 else data
        elif step == "repeat":
            data = data[:at] + data[at : at + 64] * chance.randint(2, 5) + data[at + 64 :]
        elif step == "zeros":
            data = data[:at] + bytes(len(data[at : at + 20])) + data[at + 20 :]
        elif step == "swap":
            data = data[:at] + data[at : at + 2][::-1] + data[at + 2 :]
        else:
            data = data[: max(at, 16)] + other[at : at + 200] + data[at:]
    return data


def outcome(data: bytes) -> Decoded | str:
    """Decode, and hold the result to what is promised."""
    started = time.process_time()
    try:
        decoded = images.decode(data, min_side=224, name="x.jpg")
    except UnreadableImage as error:
        found: Decoded | str = str(error)
    else:
        assert decoded.rgb.mode == "RGB"
        assert decoded.width * decoded.height <= images.MAX_PIXELS
        assert decoded.histogram.sum(axis=1).tolist() == [decoded.width * decoded.height] * 3
        found = decoded
    assert time.process_time() - started < SLOWEST, f"{len(data)} bytes took too long"
    return found


def assert_readable(reason: str) -> None:
    assert reason and reason.isprintable() and len(reason) < 130, reason
    assert formats.reason_group(reason)


@pytest.mark.parametrize("suffix", SEEDS)
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**32 - 1), data=st.data())
def test_damage_gives_an_image_or_a_reason(suffix: str, seed: int, data: st.DataObject) -> None:
    whole = data.draw(st.sampled_from(SEEDS[suffix]))
    other = data.draw(st.sampled_from(KINDS)).data
    found = outcome(damaged(whole, random.Random(seed), other))
    if isinstance(found, str):
        assert_readable(found)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from([kind.data for kind in KINDS]), st.binary(max_size=300))
def test_any_bytes_after_a_beginning_give_an_image_or_a_reason(start: bytes, rest: bytes) -> None:
    for length in (0, 2, 4, 8, 16, 40):
        found = outcome(start[:length] + rest)
        if isinstance(found, str):
            assert_readable(found)


def test_damaged_files_leave_no_memory_behind() -> None:
    chance = random.Random(7)
    pool = [kind.data for kind in KINDS]
    tries = [damaged(chance.choice(pool), chance, chance.choice(pool)) for _ in range(200)]
    held = []
    for _ in range(3):
        for data in tries:
            outcome(data)
        gc.collect()
        if not tracemalloc.is_tracing():
            tracemalloc.start()
        held.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    assert held[2] - held[1] < 200_000, held


@pytest.mark.skipif(not SECONDS, reason="set CURATE_TEST_FUZZ_SECONDS to fuzz for longer")
def test_damage_for_as_long_as_asked() -> None:
    seed = int.from_bytes(os.urandom(4))
    chance = random.Random(seed)
    pool = [kind.data for kind in KINDS]
    until = time.monotonic() + SECONDS
    runs = readable = 0
    while time.monotonic() < until:
        data = damaged(chance.choice(pool), chance, chance.choice(pool))
        try:
            found = outcome(data)
        except BaseException as error:
            error.add_note(f"seed {seed}, run {runs}, bytes {data.hex()}")
            raise
        if isinstance(found, str):
            assert_readable(found)
        runs += 1
        readable += not isinstance(found, str)
    print(f"{runs:,} damaged files, {readable:,} of them still readable")
    assert runs
