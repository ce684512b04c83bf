"""Timings of stages that run beside each other, and the memory of this program alone."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from embeddings.stages import STAGES, Timings, peak_memory

MIB = 2**20


def test_seconds_and_items_of_a_stage_add_up_over_threads() -> None:
    timings = Timings()

    def work(number: int) -> None:
        with timings.stage("decode", items=2):
            timings.add("encode", 0.25, number)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(100)))
    stages = timings.report()["stages"]
    assert stages["decode"]["items"] == 200 and stages["decode"]["seconds"] >= 0
    assert stages["encode"] == {"seconds": 25.0, "items": 4950, "items_per_second": 198.0}


def test_a_stage_that_fails_is_timed_too() -> None:
    timings = Timings()
    with pytest.raises(ValueError, match="broken"), timings.stage("store"):
        raise ValueError("broken")
    assert timings.items == {"store": 1}


def test_the_report_has_the_stages_in_the_order_of_the_work() -> None:
    timings = Timings()
    for name in ("cluster", "decode", "scan"):
        timings.add(name, 1.0, 1)
    assert list(timings.report()["stages"]) == ["scan", "decode", "cluster"]
    assert STAGES.index("decode") < STAGES.index("encode") < STAGES.index("cluster")


def test_peak_memory_remembers_what_was_given_back() -> None:
    held = np.ones(128 * MIB, np.uint8)
    size = held.nbytes
    del held
    assert peak_memory() > size


@pytest.mark.skipif(sys.platform != "linux", reason="getrusage is all there is elsewhere")
def test_peak_memory_does_not_start_at_what_the_parent_held() -> None:
    held = np.ones(300 * MIB, np.uint8)
    words = "from embeddings.stages import peak_memory; print(peak_memory())"
    told = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, check=True)
    assert 5 * MIB < int(told.stdout) < held.nbytes
