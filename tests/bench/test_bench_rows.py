"""The benchmark's own arithmetic: medians, verdicts, the JSON, the table and the page. No times are judged."""

from __future__ import annotations

import json
import time

import pytest
import torch

from rotacube.bench import machine, ops, plan, report, single
from rotacube.bench.calls import Shape
from rotacube.bench.peaks import Peaks
from rotacube.bench.rows import Case, Measured, judge, row_of, unmeasured, write_rows
from rotacube.bench.timing import Effort, Spread, measure, quartiles, ratios
from rotacube.errors import OutputUnwritable, RequestRefused
from rotacube.files import write_text

PEAKS = Peaks({torch.float32: 1e12, torch.bfloat16: 2e12}, 1e11)
SETTING = report.Setting("cpu", "a machine", "PyTorch 9", "abc of 2026-01-01", "rotacube bench ops", False, True)


def case(section="cube", what="a row", target=2.0, rule="at least", value=2.5, **more):
    targets = {} if target is None else {"cpu": target, "cuda": 3.0}
    return Case(section, what, "times", lambda conditions: Measured(value, "ours against theirs", more), targets, rule)


def row(device="cpu", **fields):
    made = case(**fields)
    return row_of(made, device, made.run(None))


def test_the_ratio_is_that_of_the_medians():
    value, low, high = ratios(Spread((1.0, 100.0, 3.0)), Spread((1.0, 2.0, 0.5)))
    assert value == 3.0  # medians 3 and 1
    assert (low, high) == quartiles([1.0, 50.0, 6.0]) == (3.5, 28.0)


@pytest.mark.parametrize(
    ("value", "target", "rule", "high", "ok"),
    [
        (2.0, 2.0, "at least", None, True),
        (1.999, 2.0, "at least", 5.0, False),
        (0.98, 1.0, "at least, within noise", 1.01, True),
        (0.98, 1.0, "at least, within noise", 0.99, False),
        (0.96, 1.0, "at least, within noise", 1.20, False),
        (0.98, 1.0, "at least, within noise", None, False),
        (1.3, 1.3, "at most", None, True),
        (1.31, 1.3, "at most", None, False),
        (None, 1.3, "at most", None, None),
        (5.0, None, "at least", None, None),
    ],
)
def test_what_passes(value, target, rule, high, ok):
    assert judge(value, target, rule, high) is ok


def test_a_row_that_falls_short_is_marked_short():
    short = row(value=1.2)
    assert (short.ok, short.verdict) == (False, "short")
    assert "| a row | 1.20x | >= 2 | short |" in report.page([short], SETTING, PEAKS)
    assert "1 fall short" in report.summary([short, row(value=2.5)], "cpu")
    assert "1 rows pass" in report.summary([short, row(value=2.5)], "cpu")


def test_candidates_take_turns_and_the_slow_ones_are_left_out():
    order = []

    def call(name, seconds):
        def run():
            order.append(name)
            time.sleep(seconds)

        return run

    groups = {
        "baseline": {"fast": call("fast", 0.002), "slow": call("slow", 0.05)},
        "ours": {"mine": call("mine", 0.002)},
    }
    found = measure(groups, Effort(rounds=4, seconds=0, most=60, least=4), "cpu")
    assert set(found.slower) == {"slow"} and set(found.groups["baseline"]) == {"fast"}
    assert len(found.groups["ours"]["mine"].samples) == 4
    assert order[-8:] == ["fast", "mine"] * 4
    assert found.best("ours")[0] == "mine" and found.best("baseline")[0] == "fast"


def test_the_first_call_of_one_that_compiles_says_nothing():
    calls = []

    def compiled():
        calls.append(1)
        if len(calls) == 1:
            time.sleep(0.2)

    groups = {"baseline": {"compiled": compiled, "plain": lambda: time.sleep(0.01)}}
    found = measure(groups, Effort(2, 0, 5, 2, long=0.1), "cpu", compiles=["compiled"])
    assert "compiled" in found.groups["baseline"] and found.slower.keys() == {"plain"}


def test_a_candidate_that_refuses_is_named_with_its_reason():
    def refuse():
        raise ValueError("this layer is too wide\nand more")

    found = measure({"ours": {"mine": refuse}}, Effort(2, 0, 1, 1), "cpu")
    assert found.best("ours") is None
    assert found.why_none("ours") == "not measured: this layer is too wide"


def test_an_error_that_is_no_refusal_comes_through():
    def fail():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        measure({"ours": {"mine": fail}}, Effort(2, 0, 1, 1), "cpu")


def test_the_json_has_the_six_keys_first(tmp_path):
    rows = [row(value=2.34567, low=2.0, high=3.0), row(target=None), unmeasured(case(), "cuda")]
    write_rows(tmp_path / "new" / "ops.json", rows)
    written = json.loads((tmp_path / "new" / "ops.json").read_text())
    assert all(list(entry)[:6] == ["what", "value", "unit", "target", "ok", "on"] for entry in written)
    first, informs, gpu = written
    assert (first["value"], first["ok"], first["low"]) == (2.346, True, 2.0)
    assert (informs["value"], informs["target"], informs["ok"]) == (2.5, None, None)
    assert (gpu["value"], gpu["target"], gpu["ok"], gpu["on"]) == (None, 3.0, None, "GPU: not measured")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["ops.json"]


def test_a_file_that_cannot_be_written_keeps_the_old_one(tmp_path, monkeypatch):
    (tmp_path / "ops.json").write_text("old")
    with pytest.raises(OutputUnwritable):
        write_text(tmp_path / "ops.json" / "below.json", "new")
    assert (tmp_path / "ops.json").read_text() == "old"


def test_the_page_says_what_was_measured_where_and_how():
    fast = row(value=3.5, low=3.4, high=3.6, ours_ms=2.0, roofline_ms=1.0, of_roofline=0.5, of_limit=0.875)
    text = report.page([fast, unmeasured(case(), "cuda")], SETTING, PEAKS)
    for words in ["a machine", "PyTorch 9", "abc of 2026-01-01", "`rotacube bench ops`", "1,000 GFLOP/s in float32"]:
        assert words in text
    assert "| a row | 3.50x (3.4 to 3.6) | >= 2 | pass | 88% | 2 | 1 | 50% | ours against theirs |" in text
    assert "not measured (>= 3)" in text and "no results" not in text


def test_the_page_of_a_quick_run_says_so():
    setting = report.Setting("cpu", "a machine", "PyTorch 9", "abc", "rotacube bench ops --quick", True, False)
    assert "its figures are no results" in report.page([row()], setting, PEAKS)


def test_appendix_a_is_a_matrix():
    what = single.what(Shape(32, 64, 16))
    text = report.page([row(section="single", what=what, target=None, value=1.25)], SETTING, PEAKS)
    line = next(line for line in text.splitlines() if line.startswith("| 16 |"))
    assert line.split(" | ")[2] == "1.25x" and line.count("not measured") == 8


def test_the_roofline_is_the_slower_of_arithmetic_and_memory():
    assert PEAKS.roofline(2e12, 1e10, torch.float32) == 2.0
    assert PEAKS.roofline(2e12, 3e11, torch.bfloat16) == 3.0


def test_the_planners_table_takes_the_better_format_and_no_compiled_baseline():
    measured = row(
        section="rotation",
        baseline="one convolution, torch.compile, channels_last",
        baseline_ms=1.0,
        ours="rotation, contiguous",
        ours_ms=0.9,
        others_ms={"four convolutions, channels_last": 4.0, "scatter, contiguous": 2.0, "scatter, channels_last": 1.5},
    )
    assert plan.algorithm_times(measured) == {"direct": 4.0, "scatter": 1.5}
    assert json.loads(plan.text([measured, row()]))[0]["fastest"] == "scatter"


def test_every_line_of_the_targets_has_rows():
    found = {(c.section, c.targets.get("cpu"), c.targets.get("cuda")) for c in ops.all_cases()}
    wanted = [("cube", 3.3, 3.0), ("cube", 2.8, 2.5), ("rotation", 2.5, 2.0), ("mean", 1.0, 1.0)]
    wanted += [("kronecker", 0.6, 0.7), ("involution", 0.6, 0.7), ("memory", 1.3, 1.3), ("single", None, None)]
    assert found >= set(wanted)
    titles = [c.what for c in ops.all_cases()]
    assert len(set(titles)) == len(titles)
    assert {c.section for c in ops.all_cases() if c.quick} == set(ops.SECTIONS)


def test_what_cannot_be_measured_is_refused_in_a_sentence():
    with pytest.raises(RequestRefused, match="no section 'cubes'; the sections are cube"):
        ops.check(ops.Options(only=("cubes",)))
    with pytest.raises(RequestRefused, match="The device is cpu or cuda"):
        ops.check(ops.Options(device="tpu"))


def test_the_command_names_no_paths(tmp_path):
    options = ops.Options(json=tmp_path / "a", record=tmp_path / "b", only=("cube",), quick=True, threads=2)
    assert options.command() == "rotacube bench ops --only cube --quick --threads 2"


def test_the_machine_is_described_without_names_and_paths():
    import platform

    told = f"{machine.describe_machine('cpu')}; {machine.describe_torch()}; {machine.describe_commit()}"
    assert "threads" in told and "PyTorch" in told and "/" not in told.replace("GB/s", "")
    assert not platform.node() or f" {platform.node()}" not in told
