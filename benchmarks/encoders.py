"""What each encoder's neighbours know of the labels, and what an image costs on one thread.

Judged in the space, never on a map: leave-one-out vote of the nearest neighbours, beside chance
(the share of the most common label) and beside a null control, the same graph with the labels
shuffled. The OpenCLIP double is ImageNet's MobileNetV2 with a small text tower. It is not CLIP.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import sources
from benchmarks.measure import Clock, Size, columns
from benchmarks.sources import Absent

ROOT = Path(__file__).resolve().parent.parent
CASES = [
    ("clothing", "builtin"),
    ("clothing", "onnx-mobilenetv2"),
    ("clothing", "open_clip-mnv2_in1k_words"),
    ("digits", "builtin"),
]
SHUFFLES = 20
# One thread: what an image costs does not then depend on how threads wait for each other, and
# small torch models with two threads on a loaded machine can spin for most of their time.
THREADS = {"OMP_NUM_THREADS": "1"}


def run(size: Size) -> dict[str, Any]:
    limit = size.pick(1000, 3781)
    return {"threads": 1, "cases": [_child(data, encoder, limit) for data, encoder in CASES]}


def table(result: dict[str, Any]) -> str:
    skipped = [case for case in result["cases"] if "skipped" in case]
    found = [case for case in result["cases"] if "skipped" not in case]
    lines = [f"  {case['data']}, {case['encoder']}: skipped: {case['skipped']}" for case in skipped]
    return "\n".join([*lines, columns([_row(case) for case in found])])


def _row(case: dict[str, Any]) -> dict[str, Any]:
    return {
        "data": case["data"],
        "encoder": case["encoder"],
        "dim": case["dim"],
        "items": case["items"],
        "1-NN": case["k1"],
        "5-NN": case["k5"],
        "chance": case["chance"],
        "null 1-NN": case["null_k1"],
        "null 5-NN": case["null_k5"],
        "prepare img/CPU s": case["prepare_images_per_cpu_second"],
        "encode img/CPU s": case["encode_images_per_cpu_second"],
    }


def _child(data: str, encoder: str, limit: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="bench-encoders-") as folder:
        out = Path(folder, "measured.json")
        words = [sys.executable, "-m", "benchmarks.encoders", data, encoder, str(limit), folder]
        env = {**os.environ, **THREADS}
        subprocess.run([*words, str(out)], cwd=ROOT, env=env, stdout=sys.stderr, check=True)
        found: dict[str, Any] = json.loads(out.read_text("utf-8"))
    return {"data": data, "encoder": encoder} | found


# ---- in a process of its own


def _measure(data: str, encoder: str, limit: int, scratch: Path) -> dict[str, Any]:
    try:
        rows = sources.clothing(limit) if data == "clothing" else _digits(scratch, limit)
        name = _encoder(encoder, scratch)
    except Absent as reason:
        return {"skipped": str(reason)}
    return _scores(rows, name)


def _digits(scratch: Path, limit: int) -> list[tuple[Path, str]]:
    from embeddings.samples import digits

    folder = digits.render(scratch / "digits")
    lines = (folder / "labels.csv").read_text("utf-8").split()[1:]
    pairs = [line.split(",") for line in lines]
    return sources.stratified([(folder / name, digit) for name, digit in pairs], limit)


def _encoder(name: str, scratch: Path) -> str:
    examples = sources.examples()
    make = {
        "onnx-mobilenetv2": examples.mobilenet_onnx,
        "open_clip-mnv2_in1k_words": examples.words_clip,
    }
    found: str = make[name](scratch, sources.real) if name in make else name
    return found


def _scores(rows: list[tuple[Path, str]], name: str) -> dict[str, Any]:
    import numpy as np

    from embeddings import encoders
    from embeddings.neighbours import knn_graph
    from embeddings.purity import knn_accuracy
    from embeddings.schema import Vectors

    encoder = encoders.load(name)
    prepare, encode = Clock(), Clock()
    found = np.concatenate(list(_encoded([file for file, _ in rows], encoder, prepare, encode)))
    item_ids = np.array([f"{number:08d}" for number in range(len(rows))], np.str_)
    graph = knn_graph(Vectors(item_ids, found, encoder.encoder_id))
    labels = [label for _, label in rows]
    k1, chance, items = knn_accuracy(graph, labels, 1)
    shuffled = [np.random.default_rng(seed).permutation(labels) for seed in range(SHUFFLES)]
    null = {k: [knn_accuracy(graph, order, k)[0] for order in shuffled] for k in (1, 5)}
    shares = [count / items for count in Counter(labels).values()]
    return {
        "encoder_id": encoder.encoder_id,
        "dim": encoder.dim,
        "dtype": encoder.describe()["dtype"],
        "items": items,
        "k1": round(k1, 4),
        "k5": round(knn_accuracy(graph, labels, 5)[0], 4),
        "chance": round(chance, 4),
        "null_k1": round(float(np.mean(null[1])), 4),
        "null_k1_highest": round(max(null[1]), 4),
        "null_k1_expected": round(sum(share * share for share in shares), 4),
        "null_k5": round(float(np.mean(null[5])), 4),
        "null_k5_highest": round(max(null[5]), 4),
        "prepare_images_per_cpu_second": round(items / prepare.cpu, 1),
        "encode_images_per_cpu_second": round(items / encode.cpu, 1),
        "prepare_wall_seconds": round(prepare.wall, 3),
        "encode_wall_seconds": round(encode.wall, 3),
    }


def _encoded(files: list[Path], encoder: Any, prepare: Clock, encode: Clock) -> Iterator[Any]:
    import numpy as np

    from embeddings import images, thumbnails

    need = max(encoder.min_side, thumbnails.SIDE)  # as a build decodes

    def prepared(file: Path) -> Any:
        return encoder.prepare(images.decode(images.read(str(file)), min_side=need).rgb)

    encoder.encode(np.stack([prepared(file) for file in files[: encoder.batch_size]]))  # warm
    for start in range(0, len(files), encoder.batch_size):
        with prepare:
            batch = np.stack([prepared(file) for file in files[start : start + encoder.batch_size]])
        with encode:
            vectors = encoder.encode(batch)
        yield vectors


if __name__ == "__main__":
    data, encoder, limit, scratch, out = sys.argv[1:]
    measured = _measure(data, encoder, int(limit), Path(scratch))
    Path(out).write_text(json.dumps(measured), "utf-8")
