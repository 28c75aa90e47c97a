"""What a CI system is given: documents that parse, whatever a name or a reason contains."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import msgspec

from edgekit.bench.ci import junit, junit_unmeasured, markdown, markdown_unmeasured, sentence
from edgekit.bench.compare import Comparison, compare_runs
from tests.bench.runs import noisy_run


def comparisons() -> list[Comparison]:
    runs = [noisy_run(2, ns=1.2e6), noisy_run(3), noisy_run(4, ns=0.8e6), noisy_run(5, threads=2)]
    return compare_runs([(noisy_run(1), run) for run in runs])


def test_junit_fails_for_a_regression_and_skips_what_is_open() -> None:
    suite = ET.fromstring(junit("s", comparisons())).find("testsuite")
    assert suite is not None
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("4", "1", "1")
    cases = suite.findall("testcase")
    assert [case[0].tag for case in cases] == ["failure", "system-out", "system-out", "skipped"]
    assert "regressed: " in cases[0][0].get("message", "")
    assert "threads (1 against 2)" in cases[3][0].get("message", "")


def test_markdown_begins_with_the_verdict() -> None:
    told = markdown("crepe", comparisons())
    first, *_ = told.splitlines()
    assert first == "### 🔴 1 of 4 regressed: crepe"
    assert told.count("| board |") == 4
    assert "they differ in threads" in told
    assert markdown("crepe", comparisons()[1:2]).startswith("### ⚪ nothing changed:")


def test_hostile_names_stay_text() -> None:
    bad = msgspec.structs.replace(comparisons()[0], model="a|b<script>\x00\x1b[31m`c`\n# d", target="t|\ud800")
    told = markdown("x", [bad])
    row = told.splitlines()[4]
    assert row.count("|") - row.count("\\|") == 8
    assert "<script>" not in told.replace("\\<script\\>", "")
    ET.fromstring(junit("s\x00", [bad]))


def test_a_device_that_was_away() -> None:
    case = ET.fromstring(junit_unmeasured("crepe", "The device 'pi' is away.")).find("testsuite/testcase")
    assert case is not None
    assert case[0].tag == "skipped"
    assert "not measured: crepe" in markdown_unmeasured("crepe", "The device 'pi' is away.")


def test_a_sentence_tells_both_latencies_and_the_interval() -> None:
    told = sentence(comparisons()[0])
    assert told.startswith("regressed: 1")
    assert "+1" in told
    assert " to +2" in told
