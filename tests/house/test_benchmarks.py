"""The benchmark runner: what it is called with, and what it prints."""

import json
import shutil
import subprocess
import sys

import pytest

NAMES = ["ingest", "peers", "scale", "encoders", "forecast", "journal", "curator", "map"]


@pytest.fixture(scope="module")
def script(root):
    return root / "benchmarks" / "run.py"


def test_the_runner_lists_every_benchmark_and_each_has_its_module(run, root, script):
    told = run([sys.executable, script, "--help"])
    listed = told.partition("benchmarks:\n")[2]
    assert [line.split()[0] for line in listed.splitlines()] == NAMES
    assert not [name for name in NAMES if not (root / "benchmarks" / f"{name}.py").is_file()]


def test_an_unknown_benchmark_is_refused_with_the_known_ones(script):
    done = subprocess.run(
        [sys.executable, script, "--only", "speed"], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert not [name for name in NAMES if name not in done.stderr]


def test_json_prints_exactly_one_object_and_a_limited_run_is_not_saved(run, root, script):
    saved = root / "benchmarks" / "results" / "journal.json"
    before = saved.stat() if saved.exists() else None
    words = [sys.executable, script, "--only", "journal", "--limit", "500", "--json"]
    found = json.loads(run(words))
    assert (found["benchmark"], found["limit"]) == ("journal", 500)
    assert found["machine"]["cores"] >= 1
    assert len(found["machine"]["load_average_before"]) == 3
    assert (saved.stat() if saved.exists() else None) == before


def test_without_a_browser_the_map_measures_the_servers_side_and_says_so(run, script, tmp_path):
    (tmp_path / "git").symlink_to(shutil.which("git"))  # which says what was measured
    words = [sys.executable, script, "--only", "map", "--limit", "500"]
    told = run(words, env={"PATH": str(tmp_path)})
    head, columns, *rows = told.strip().split("\n")
    assert head.startswith("map: ")
    assert columns.split()[0] == "items"
    assert rows[0].split()[0] == "500"
    assert "chromium is not installed" in rows[-1]


@pytest.mark.browser
def test_the_map_is_measured_in_a_browser_beside_plotly(run, script):
    words = [sys.executable, script, "--only", "map", "--limit", "500", "--json"]
    cases = {case["who"]: case for case in json.loads(run(words, timeout=600))["browser"]}
    for who in ("curation-atlas", "our map alone", "st.plotly_chart"):
        assert "no_answer" not in cases[who]
        assert 25 <= cases[who]["lasso_selected"] <= 100  # a tenth of 500, as near as a circle can
        assert cases[who]["memory_mb"] > 0
    assert cases["curation-atlas"]["label_ms"] > 0
    assert cases["curation-atlas"]["revisit_points_bytes"] == 0
    assert cases["curation-atlas"]["lasso_bytes"] < cases["st.plotly_chart"]["lasso_bytes"]


def test_absent_data_is_said_and_the_run_goes_on(run, script, tmp_path):
    words = [sys.executable, script, "--only", "ingest", "--json", "--limit", "10"]
    found = json.loads(run(words, env={"CURATE_TEST_DATA": str(tmp_path)}))
    assert len(found["cases"]) == 4
    assert all("CURATE_TEST_DATA" in case["skipped"] for case in found["cases"])


def test_without_photographs_the_peers_are_skipped_and_nothing_is_installed(run, script, tmp_path):
    words = [sys.executable, script, "--only", "peers", "--json", "--limit", "10"]
    env = {"CURATE_TEST_DATA": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    found = json.loads(run(words, env=env))
    assert [case["case"] for case in found["cases"]] == ["ours", "cleanvision", "imagededup"]
    assert all("CURATE_TEST_DATA" in case["skipped"] for case in found["cases"])
    assert not (tmp_path / "cache").exists()


def test_scale_measures_memory_without_any_data(run, script, tmp_path):
    words = [sys.executable, script, "--only", "scale", "--json", "--limit", "100"]
    memory, again = json.loads(run(words, env={"CURATE_TEST_DATA": str(tmp_path)}))["cases"]
    assert memory["images"] == 100 and 0.5 < memory["ratio"] < 2
    assert "CURATE_TEST_DATA" in again["skipped"]


def test_the_forecast_is_judged_on_the_digits_alone_where_nothing_else_is(run, script, tmp_path):
    words = [sys.executable, script, "--only", "forecast", "--json", "--limit", "240"]
    found = json.loads(run(words, env={"CURATE_TEST_DATA": str(tmp_path)}))
    skipped = [case for case in found["cases"] if "skipped" in case]
    assert [case["data"] for case in skipped] == ["grocery", "clothing", "cifar10"]
    assert all("CURATE_TEST_DATA" in case["skipped"] for case in skipped)
    judged = {(c["labelled"], c["how"]): c for c in found["cases"] if c["data"] == "digits"}
    assert len(judged) == 4 * 6
    for labelled in (0, 0.01, 0.05, 0.2):
        before, after = judged[labelled, "no samples"], judged[labelled, "60 samples"]
        assert after["error"] < before["error"] and after["width"] < before["width"]
    assert found["speed"]["forecast_ms"] > 0


def test_the_simulated_curator_counts_every_act_and_needs_no_real_data(run, script, tmp_path):
    words = [sys.executable, script, "--only", "curator", "--json", "--limit", "300"]
    result = json.loads(run(words, env={"CURATE_TEST_DATA": str(tmp_path)}))
    digits, *others = result["cases"]
    assert all("CURATE_TEST_DATA" in case["skipped"] for case in others)
    plain, _, helped = digits["runs"][:3]
    assert plain["acts"].keys() == {"typed", "key"} and sum(plain["acts"].values()) == 300
    typed = plain["acts"]["typed"] * 0.28  # a digit and Return, where a key would have been one
    assert plain["minutes"] == pytest.approx((300 * (0.15 + 1.35 + 0.28) + typed) / 60, abs=0.01)
    assert helped["acts_a_label"] == pytest.approx(sum(helped["acts"].values()) / 300, abs=1e-4)
    assert helped["looked"] >= 300  # no label was given unseen
    assert (helped["coverage"], helped["accuracy"]) == (1.0, 1.0)
    assert helped["acts_a_label"] < 0.3
    assert helped["curve"][-1]["acts"] == sum(helped["acts"].values())
    slipped = digits["runs"][3:]
    assert slipped[0]["accuracy"] < 1
    assert result["refresh"]["learn_ms"] > 0
