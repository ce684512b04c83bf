"""How many acts a label costs: a simulated curator at the assistant's sheets, beside plain ways.

The curator (`benchmarks.hands`) asks the assistant for sheets and decides through the same calls as
the Clean page, on real images and a real journal. They are shown what the assistant proposes; what
they know of an image they know from having it on the screen, so every label was looked at. The
truth is kept apart from the dataset: nothing there could read it.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import hands, sources
from benchmarks.curves import picture
from benchmarks.measure import Size, columns, median, percentile95, timed
from benchmarks.sources import Absent

SEEDS = 5
SLIPS = (0.0, 0.02)
HALFWAY = 0.5  # coverage at which labels are let spread, to see how right they are
SURE = 0.99
PICTURE = "curator.svg"
DIMENSIONS = 512
REFRESH_TARGET = 200.0  # milliseconds after a decision, at 100,000 items


@dataclass(frozen=True)
class Case:
    """A data set, how much of it is to be labelled, and what that may cost."""

    data: str
    until: float
    acts: float | None = None
    accuracy: float | None = None
    faster: float | None = None


CASES = [
    Case("digits", 1.0, acts=0.05, accuracy=0.995, faster=7.0),
    Case("cifar10", 0.95, acts=0.15, accuracy=0.99, faster=4.5),
    Case("clothing", 0.95),
]


def run(size: Size) -> dict[str, Any]:
    refresh = _refresh(size.pick(100_000, 100_000))
    cases = [_case(case, size) for case in CASES]
    found = {"cases": cases, "refresh": refresh, "model": _model()}
    if size.limit is None:
        target = sources.ROOT / "benchmarks" / "results" / PICTURE
        target.parent.mkdir(exist_ok=True)
        target.write_text(picture([case for case in cases if "runs" in case]), "utf-8")
        found["picture"] = str(target.relative_to(sources.ROOT))
    return found


def _model() -> dict[str, Any]:
    return {
        "key": hands.KEY,
        "point": hands.POINT,
        "mind": hands.MIND,
        "look": hands.LOOK,
        "screen": hands.SCREEN,
        "seeds": "each its own layout, clusters and landmarks, and its own slips",
    }


def _case(case: Case, size: Size) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="bench-curator-") as folder, _home(Path(folder)):
        try:
            images, labels, options = PREPARE[case.data](Path(folder), size)
        except Absent as reason:
            return {"case": case.data, "skipped": str(reason)}
        runs = []
        for seed in range(1 if size.quick or size.limit else SEEDS):
            truth = _built(case.data, images, labels, {**options, "seed": seed})
            for slips in SLIPS:
                runs += _compared(case, truth, slips, seed)
    return {"case": case.data, "items": len(truth), **_told(case, runs), "runs": runs}


def _refresh(items: int) -> dict[str, Any]:
    """Milliseconds from a decision on 60 items until everything is proposed and queued anew."""
    from curation.learning.batches import Pool, queue
    from curation.learning.classifier import NONE, Classifier

    chance = np.random.default_rng(0)
    truth = chance.integers(0, 10, items).astype(np.int32)
    vectors = chance.normal(size=(items, DIMENSIONS)).astype(np.float32)
    vectors += chance.normal(size=(10, DIMENSIONS)).astype(np.float32)[truth]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    near = chance.integers(0, items, (items, 30)).astype(np.int32)  # the worst for a cache
    model = Classifier(vectors, near, truth)
    codes = np.full(items, NONE, np.int32)
    codes[: items // 10] = truth[: items // 10]
    model.tell(codes)
    names = [str(code) for code in range(10)]
    told, asked = [], []
    for some in np.array_split(np.arange(items // 10, min(items, items // 10 + 1_200)), 20):
        codes[some] = truth[some]
        told += timed(lambda: model.tell(codes), 1)
        pool = Pool(vectors, near, truth, codes == NONE, codes, model.proposals(), names)
        asked += timed(lambda pool=pool: queue(pool), 1)  # type: ignore[misc]
    both = [one + other for one, other in zip(told, asked, strict=True)]
    return {
        "items": items,
        "dimensions": DIMENSIONS,
        "learn_ms": median(told, 1),
        "queue_ms": median(asked, 1),
        "both_ms_95": percentile95(both, 1),
        "target_ms": REFRESH_TARGET,
        "target_met": percentile95(both) <= REFRESH_TARGET,
    }


@contextmanager
def _home(folder: Path) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in ("CURATE_HOME", "CURATE_USER")}
    os.environ |= {"CURATE_HOME": str(folder / "home"), "CURATE_USER": "simulated"}
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


# ---- the data


def _digits(scratch: Path, size: Size) -> tuple[list[Path], dict[str, str], dict[str, Any]]:
    from embeddings.samples import digits

    folder = digits.render(scratch / "digits")
    lines = (folder / "labels.csv").read_text("utf-8").split()[1:]
    pairs = [line.split(",") for line in lines][: size.limit]
    files = {str(folder / name): digit for name, digit in pairs}
    return [Path(file) for file in files], files, {"encoder": "builtin"}


def _cifar10(scratch: Path, size: Size) -> tuple[list[Path], dict[str, str], dict[str, Any]]:
    count = size.pick(6_000, 60_000)
    data = sources.real("scale_cifar10")
    folder = sources.cifar(scratch / "cifar", count)
    files = sorted(folder.rglob("*.jpg"))
    vectors = np.load(data / "resnet20_embedding_f16.npy")[:count].astype(np.float32)
    table = scratch / "vectors.npz"
    np.savez(table, path=np.array([str(file) for file in files]), vector=vectors)
    names = (data / "classes.txt").read_text("utf-8").split()
    codes = np.load(data / "cifar10_jpeg.npz")["label"]
    labels = {str(file): names[code] for file, code in zip(files, codes, strict=False)}
    return [table], labels, {}


def _clothing(scratch: Path, size: Size) -> tuple[list[Path], dict[str, str], dict[str, Any]]:
    rows = sources.clothing(size.pick(1_000, 3_781))
    encoder = sources.examples().mobilenet_onnx(scratch, sources.real)
    files = {str(file.resolve()): label for file, label in rows}
    return [Path(file) for file in files], files, {"encoder": encoder}


PREPARE = {"digits": _digits, "cifar10": _cifar10, "clothing": _clothing}


def _built(
    name: str, images: list[Path], labels: dict[str, str], options: dict[str, Any]
) -> np.ndarray:
    """Build the dataset, or lay it out anew with another seed; return the truth by row."""
    from curation.workspace import Workspace
    from embeddings.build import Options, build

    build(name, images, Options(**options))
    workspace = Workspace(name)
    known = {row.image_id: labels[row.path] for row in workspace.store.locations() if row.image_id}
    return np.array([known[item] for item in workspace.atlas().item_ids.tolist()])


# ---- the work


def _compared(case: Case, truth: np.ndarray, slips: float, seed: int) -> list[dict[str, Any]]:
    plain = hands.OneByOne(truth, slips, seed)
    plain.work(case.until)
    rows = [_row("one by one", plain, slips, seed)]
    helper = _assistant(case.data, seed)
    clusters = hands.ByCluster(truth, helper.atlas.cluster, slips, seed)
    clusters.work(case.until)
    rows.append(_row("HDBSCAN clusters", clusters, slips, seed))
    session = hands.Session(helper, truth, slips, seed)
    session.work(min(HALFWAY, case.until))
    spread = _spread(session) if not slips else {}
    session.work(case.until)
    calibration = helper.calibration()
    more = {
        "ece": round(calibration.error, 4),
        "judged": calibration.judged,
        "one_by_one": session.single,
        **spread,
        "curve": thinned(session.curve),
    }
    rows.append(_row("the assistant", session, slips, seed) | more)
    for row in rows:
        row["faster"] = round(rows[0]["seconds_a_label"] / row["seconds_a_label"], 2)
    return rows


def _assistant(name: str, seed: int) -> Any:
    from curation.assistant import Assistant
    from curation.workspace import Workspace
    from embeddings.dataset import open_dataset

    journal = open_dataset(name).journal
    for file in journal.parent.glob(f"{journal.name}*"):
        file.unlink()  # each run begins with nothing decided
    workspace = Workspace(name)
    return Assistant(workspace, workspace.atlas(), "category", seed)


def _spread(session: hands.Session) -> dict[str, Any]:
    """How right labels would be that spread to items nobody looked at; none is given."""
    found = session.helper.spread(SURE)
    told = found.proposals.codes >= 0
    names = np.array([*session.standing()[1], ""])
    right = names[found.proposals.codes[told]] == session.eyes.truth[told]
    return {
        "spread_at_coverage": session.coverage,
        "spread_items": int(told.sum()),
        "spread_accuracy": round(float(right.mean()), 4) if told.any() else None,
        "spread_promised": round(float(found.proposals.confidence[told].mean()), 4)
        if told.any()
        else None,
    }


def _row(who: str, worked: Any, slips: float, seed: int) -> dict[str, Any]:
    labels = worked.labelled
    return {
        "who": who,
        "slips": slips,
        "seed": seed,
        "acts": dict(worked.hands.acts),
        "acts_a_label": round(worked.hands.total / labels, 4),
        "minutes": round(worked.hands.seconds / 60, 2),
        "seconds_a_label": round(worked.hands.seconds / labels, 4),
        "looked": worked.hands.looked,
        "coverage": worked.coverage,
        "accuracy": worked.accuracy,
    }


def thinned(curve: list[dict[str, Any]], most: int = 200) -> list[dict[str, Any]]:
    """At most `most` points of a curve, the last one among them."""
    at = np.unique(np.linspace(0, len(curve) - 1, min(most, len(curve))).round().astype(int))
    return [curve[index] for index in at.tolist()]


# ---- what is told


def _told(case: Case, runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians over the seeds, and whether the targets were met in every one."""
    found = []
    for slips in SLIPS:
        for who in ("one by one", "HDBSCAN clusters", "the assistant"):
            mine = [run for run in runs if run["who"] == who and run["slips"] == slips]
            names = ("acts_a_label", "minutes", "coverage", "accuracy", "faster")
            row = {name: median([run[name] for run in mine], 4) for name in names}
            ece = [run["ece"] for run in mine if "ece" in run]
            found.append(
                {"who": who, "slips": slips, **row, "ece": median(ece, 4) if ece else None}
            )
    return {"rows": found, "targets": _targets(case, runs)}


def _targets(case: Case, runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    mine = [run for run in runs if run["who"] == "the assistant"]
    perfect = [run for run in mine if not run["slips"]]
    plain = {run["seed"]: run for run in runs if run["who"] == "one by one" and run["slips"]}
    slipped = [run["accuracy"] - plain[run["seed"]]["accuracy"] for run in mine if run["slips"]]
    wanted = [
        ("acts a label", case.acts, max(run["acts_a_label"] for run in perfect), False),
        ("coverage", case.until, min(run["coverage"] for run in perfect), True),
        ("accuracy", case.accuracy, min(run["accuracy"] for run in perfect), True),
        ("times faster", case.faster, min(run["faster"] for run in perfect), True),
        ("accuracy over one by one, with slips", 0.0, round(min(slipped), 5), True),
    ]
    return [
        {"what": what, "target": target, "worst": worst, "met": (worst >= target) is more
         or worst == target}
        for what, target, worst, more in wanted
        if target is not None
    ]  # fmt: skip


def table(result: dict[str, Any]) -> str:
    took = result["refresh"]
    parts = [
        f"  after a decision, {took['items']:,} items of {took['dimensions']} numbers: "
        f"{took['learn_ms']} ms to learn, {took['queue_ms']} ms to queue (medians), together "
        f"{took['both_ms_95']} ms (95 %), target {took['target_ms']:.0f}: "
        f"{'met' if took['target_met'] else 'missed'}"
    ]
    for case in result["cases"]:
        if "skipped" in case:
            parts.append(f"  {case['case']}: skipped: {case['skipped']}")
            continue
        rows = [{"data": case["case"], "items": case["items"], **row} for row in case["rows"]]
        parts.append(columns(rows))
        parts += [
            f"  {case['case']}: {one['what']}: worst {one['worst']}, target {one['target']}: "
            f"{'met' if one['met'] else 'missed'}"
            for one in case["targets"]
        ]
        parts.append(_spread_line(case))
    if "picture" in result:
        parts.append(f"  acts, coverage and accuracy: {result['picture']}")
    return "\n".join(part for part in parts if part)


def _spread_line(case: dict[str, Any]) -> str:
    found = [run for run in case["runs"] if run.get("spread_items")]
    if not found:
        return ""
    one = found[0]
    return (
        f"  {case['case']}: not counted above: at {one['spread_at_coverage']:.0%} looked at, "
        f"labels would spread to {one['spread_items']:,} items that nobody looked at, "
        f"{one['spread_accuracy']:.2%} of them rightly (promised {one['spread_promised']:.2%})"
    )
