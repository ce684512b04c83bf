"""How near the forecast of a set's purity comes, before and after samples are looked at.

Random lassos on the map (circles, polygons, 20 to 3,000 items) and whole clusters, on real data
with true labels, with nothing labelled and with 1, 5 and 20 % labelled by a curator who confirms
pages. Each data set is judged with coefficients fitted on the other three.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.forecast_cases import DATA, Case, cases_of
from benchmarks.measure import Size, columns, median, timed
from benchmarks.sources import Absent
from curation.learning import forecast as forecasts
from curation.learning.forecast import CALIBRATED, SHARE, SHOWN, WORTH, Calibration, Purity, updated
from curation.learning.likeness import likeness

MOST_COUNTED = 60  # items of a set in the likelihood: its guess is worth no more
CAUTION = 0.5  # new data differ more from these than these from each other
SHEETS = 2  # of samples, that are looked at
LARGE = 300  # items: of smaller sets a good part is looked at
TARGETS = {"error": 0.03, "covered": 0.88, "width": 0.15}
Float64 = npt.NDArray[np.float64]
By = dict[bool, Calibration]


def run(size: Size) -> dict[str, Any]:
    lassos = size.pick(60, 500)
    drawn, skipped = _drawn(size, lassos)
    terms = {name: [_observed(case) for case in to_fit] for name, (_, to_fit) in drawn.items()}
    found: list[dict[str, Any]] = []
    pooled: list[Judged] = []
    for name, (cases, _) in drawn.items():
        others = [one for other, held in terms.items() if other != name for one in held]
        by = fitted(others) if others else CALIBRATED
        judged = [one for case in cases for one in _judged(case, by)]
        found += _summaries(name, judged)
        pooled += judged
    large = [one for one in pooled if len(one.case.rows) > LARGE]
    every = [one for held in terms.values() for one in held]
    return {
        "lassos": lassos,
        "samples": SHOWN,
        "targets": TARGETS,
        "cases": [
            *skipped,
            *found,
            *_summaries("all", pooled),
            *_summaries(f"over {LARGE} items", large),
        ],
        "shipped": _plain(CALIBRATED),
        "fitted_on_all": _plain(fitted(every)) if every else None,
        "speed": _speed(size),
    }


def _drawn(
    size: Size, lassos: int
) -> tuple[dict[str, tuple[list[Case], list[Case]]], list[dict[str, Any]]]:
    """Sets to judge and others to fit on, by data set; and what is absent."""
    drawn, skipped = {}, []
    with tempfile.TemporaryDirectory(prefix="bench-forecast-") as folder:
        for name, make in DATA.items():
            try:
                space = make(name, Path(folder), size)
            except Absent as reason:
                skipped.append({"data": name, "skipped": str(reason)})
                continue
            drawn[name] = (
                list(cases_of(space, lassos, seed=1)),
                list(cases_of(space, lassos // 2, seed=2)),
            )
    return drawn, skipped


# ---- judging


@dataclass(frozen=True)
class Judged:
    """What was said of one set after `seen` samples, beside the truth."""

    case: Case
    how: str
    seen: int
    estimate: float
    low: float
    high: float


def _judged(case: Case, by: By) -> Iterator[Judged]:
    """What is said before, and after each sheet of samples; and what as many at random say.

    A curator who looks "until sure" takes another sheet only while the interval is too wide.
    """
    before = case.forecast(by)
    yield _said(case, "no samples", before)
    now = case.forecast(by, case.legend.get(case.most, len(case.legend)))
    sure = False
    for sheet in range(1, SHEETS + 1):
        now = updated(now, case.space.truth[now.samples] == case.most)
        looked = f"{sheet * SHOWN} samples"
        yield _said(case, looked, now)
        yield Judged(case, f"{looked} at random", now.answered, *_at_random(case, sheet * SHOWN))
        if not sure and (now.high - now.low <= TARGETS["width"] or sheet == SHEETS):
            sure = True
            yield _said(case, "until sure", now)


def _said(case: Case, how: str, purity: Purity) -> Judged:
    return Judged(case, how, purity.answered, purity.estimate, purity.low, purity.high)


def _at_random(case: Case, samples: int) -> tuple[float, float, float]:
    """Share of a simple random sample, and its Clopper-Pearson interval of 90 %."""
    from scipy.stats import beta

    chance = np.random.default_rng(int(case.rows.sum()))
    some = chance.permutation(case.rows)[:samples]
    yes = int(np.count_nonzero(case.space.truth[some] == case.most))
    no = len(some) - yes
    low = float(beta.ppf(0.05, yes, no + 1)) if yes else 0.0
    high = float(beta.ppf(0.95, yes + 1, no)) if no else 1.0
    return yes / len(some), low, high


def _summaries(name: str, judged: list[Judged]) -> list[dict[str, Any]]:
    groups: dict[tuple[float, str], list[Judged]] = {}
    for one in judged:
        groups.setdefault((one.case.stage, one.how), []).append(one)
    return [_summary(name, *key, groups[key]) for key in sorted(groups)]


def _summary(name: str, stage: float, how: str, judged: list[Judged]) -> dict[str, Any]:
    truth = np.array([one.case.purity for one in judged])
    estimate, low, high = np.array([(one.estimate, one.low, one.high) for one in judged]).T
    held = (low - 1e-9 <= truth) & (truth <= high + 1e-9)
    said = {
        "error": round(float(np.abs(estimate - truth).mean()), 4),
        "covered": round(float(held.mean()), 4),
        "width": round(float(np.median(high - low)), 4),
    }
    met = said["error"] <= TARGETS["error"] and said["width"] <= TARGETS["width"]
    return {
        "data": name,
        "labelled": stage,
        "how": how,
        "lassos": len(judged),
        "looked at": round(float(np.mean([one.seen for one in judged])), 1),
        **said,
        "targets_met": bool(met and said["covered"] >= TARGETS["covered"]),
    }


# ---- fitting

Observed = tuple[bool, str, dict[str, float], float, int]


def _observed(case: Case) -> Observed:
    """Whether something was proposed, the data set, the evidence, the truth and the size."""
    said = case.forecast(CALIBRATED)
    proposed = case.proposals is not None and said.label >= 0
    return proposed, case.space.name, said.ground.terms, case.purity, len(case.rows)


def fitted(observed: list[Observed]) -> By:
    """The coefficients under which the true shares are likeliest, each data set counting alike."""
    return {
        proposed: _fitted([one for one in observed if one[0] == proposed], proposed)
        for proposed in (True, False)
    }


def _fitted(observed: list[Observed], proposed: bool) -> Calibration:
    """Maximum likelihood of the mixture that `forecasts.beliefs` draws, by L-BFGS."""
    if not observed:
        return CALIBRATED[proposed]
    from scipy.optimize import minimize
    from scipy.special import betaln, expit

    terms = np.array([[1.0] + [one[2][name] for name in SHARE[proposed]] for one in observed])
    amount = np.array([[1.0] + [one[2][name] for name in WORTH[proposed]] for one in observed])
    data = np.array([one[1] for one in observed])
    weight = 1.0 / np.array([np.count_nonzero(data == name) for name in data])
    size = np.minimum(np.array([one[4] for one in observed]), MOST_COUNTED)
    hits = size * np.array([one[3] for one in observed])
    ends = np.cumsum([terms.shape[1], amount.shape[1]])

    def unlikely(flat: Float64) -> float:
        share, worth, pure = np.split(flat, ends)
        lean = terms @ share
        mean, samples = expit(lean).clip(0.01, 0.99), np.exp(amount @ worth).clip(0.6, 150)
        a, b = mean * samples, (1 - mean) * samples
        mixed = betaln(a + hits, b + size - hits) - betaln(a, b)
        whole = betaln(forecasts.PURE[0] + hits, forecasts.PURE[1] + size - hits)
        whole -= betaln(*forecasts.PURE)
        odds = expit(pure[0] + pure[1] * lean).clip(1e-6, 1 - 1e-6)
        logs = np.logaddexp(np.log1p(-odds) + mixed, np.log(odds) + whole)
        return float(-(weight * logs).sum() / weight.sum() + 0.003 * (flat[1:] ** 2).sum())

    start = np.zeros(ends[-1] + 2)
    start[ends[0]] = 1.0
    share, worth, pure = np.split(minimize(unlikely, start, method="L-BFGS-B").x, ends)
    worth[0] += np.log(CAUTION)
    return Calibration(tuple(share), tuple(worth), (float(pure[0]), float(pure[1])))


def _plain(by: By) -> dict[str, Any]:
    return {
        "proposed" if proposed else "unlabelled": {
            name: [round(float(value), 2) for value in getattr(one, name)]
            for name in ("share", "worth", "pure")
        }
        for proposed, one in by.items()
    }


# ---- speed


def _speed(size: Size) -> dict[str, Any]:
    """Milliseconds of one forecast and one update; 512 numbers an item, float16, blobs."""
    n = size.pick(20_000, 100_000)
    chance = np.random.default_rng(0)
    kind = np.sort(chance.integers(0, 50, n))
    middles = chance.normal(size=(50, 512)).astype(np.float32)
    vectors = np.empty((n, 512), np.float16)
    for start in range(0, n, 10_000):
        some = middles[kind[start : start + 10_000]]
        some = some + chance.normal(size=some.shape).astype(np.float32)
        vectors[start : start + 10_000] = some / np.linalg.norm(some, axis=1, keepdims=True)
    near = (np.arange(n)[:, None] + chance.integers(1, 200, (n, 30))).clip(0, n - 1).astype("i4")
    alike = np.sort(chance.random((n, 30)).astype("f4"), axis=1)[:, ::-1]
    (build,) = timed(lambda: likeness(vectors, near, alike), 1)
    tree = likeness(vectors, near, alike)
    rows = np.sort(chance.permutation(n)[: n // 10]).astype(np.int32)
    codes = np.full(n, -1, np.int32)

    def once() -> forecasts.Purity:
        return forecasts.forecast(rows, tree, near, vectors, codes)

    said = once()
    answers = np.ones(len(said.samples), np.int8)
    return {
        "items": n,
        "rows": len(rows),
        "tree_ms": round(build),
        "forecast_ms": median(timed(once, 9)),
        "update_ms": median(timed(lambda: updated(said, answers), 9)),
        "target_ms": 100,
    }


def table(result: dict[str, Any]) -> str:
    lines = [f"  {case['data']}: skipped: {case['skipped']}" for case in result["cases"] if
             "skipped" in case]  # fmt: skip
    rows = [
        {**case, "targets_met": "yes" if case["targets_met"] else "no"}
        for case in result["cases"]
        if "skipped" not in case
    ]
    speed = result["speed"]
    told = (
        f"{speed['rows']:,} rows of {speed['items']:,} items: forecast {speed['forecast_ms']} ms, "
        f"update {speed['update_ms']} ms; the tree, once, {speed['tree_ms']:,} ms"
    )
    return "\n".join([*lines, columns(rows), told])
