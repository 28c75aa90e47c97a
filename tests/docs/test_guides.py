"""The guides, carried out: every command that they show, in their order, and what comes after it.

The Raspberry Pi is an sshd with the user, the name and the bare Python of one (tests/docs/stage.py), not the emulated
board: unpacking a runtime and measuring there takes minutes under emulation, and tests/devices/test_board.py does the
same commands on it.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.browser import chromium
from tests.bundle.web.serving import BundleServer
from tests.cli.ci_systems import run_action, run_gitlab_job
from tests.docs.guide import Guide
from tests.docs.stage import REPOSITORY

if TYPE_CHECKING:
    from tests.docs.stage import Stage

pytestmark = [pytest.mark.slow, pytest.mark.device]
FOLDER = REPOSITORY / "docs" / "guides"
ELSEWHERE = {
    "bundle-in-an-app": [
        'In your app\'s Gradle files: include(":digits")                                    // settings.gradle.kts',
        "In your app: DigitsCnnModel.open(context).use { model -> model.run(image) }",
        "On your Mac or PC, with a phone attached: ./gradlew :digits:connectedAndroidTest",
        "In your app: let model = try DigitsCnnModel()",
        "On your Mac: cd ios/Digits && swift test",
        "In your browser: {",
        'In your app: import { load } from "./digits-web/index.js";',
    ],
    "gate-latency-in-ci": [
        "On your device, in a quiet hour: $ edgekit bench released/digits_cnn/tflite-int8 --on pi --aa 20"
    ],
    "ship-to-a-raspberry-pi": ["In a terminal of your own: $ ssh-copy-id pi@raspberrypi.local"],
    "watch-for-drift": [],
}
"""What is not run here, and would need a password, an hour, a phone, a Mac or an app."""


def test_every_guide_is_carried_out_and_what_is_not_is_named() -> None:
    guides = {path.stem: Guide(path).elsewhere for path in FOLDER.glob("*.md")}
    assert guides == ELSEWHERE
    readme = (REPOSITORY / "README.md").read_text()
    assert set(re.findall(r"docs/guides/([a-z-]+)\.md", readme)) == set(guides)


def carry_out(stage: Stage, name: str, *, alone: bool = False) -> dict[str, str]:
    """What came, by command."""
    shell = stage.shell(name, alone=alone)
    try:
        return {step.command: came for step, came in Guide(FOLDER / f"{name}.md").carry_out(shell)}
    finally:
        shell.close()


def test_ship_to_a_raspberry_pi(stage: Stage) -> None:
    came = carry_out(stage, "ship-to-a-raspberry-pi")
    read = next(text for command, text in came.items() if "read.py 2>" in command)
    assert read == "2 0 2 6 2 5 9 3 by float32\n", "what it reads is right, before and after"


def test_watch_for_drift(stage: Stage) -> None:
    carry_out(stage, "watch-for-drift", alone=True)


def test_bundle_in_an_app(stage: Stage) -> None:
    """And the page that the guide has one open, in a real browser."""
    carry_out(stage, "bundle-in-an-app")
    (block,) = (one for one in Guide(FOLDER / "bundle-in-an-app.md").blocks if one.elsewhere == "In your browser")
    bundle = stage.folder / "bundle-in-an-app" / "digits-web"
    server = BundleServer(bundle, bundle / "node_modules")
    try:
        with chromium() as browser:
            report = opened(browser, server.home)
    finally:
        server.close()
    shown = json.loads(block.text)
    assert set(report) == set(shown)
    assert {name: report[name] for name in ("samples", "outputs", "passed")} == {
        name: shown[name] for name in ("samples", "outputs", "passed")
    }


def opened(browser: Any, home: str) -> dict[str, Any]:
    """What the page reports, after a minute at most."""
    tab = browser.new_page()
    tab.goto(f"{home}check.html")
    tab.wait_for_function("document.getElementById('report').textContent.startsWith('{')", timeout=60_000)
    report: dict[str, Any] = json.loads(tab.text_content("#report"))
    return report


def test_gate_latency_in_ci(stage: Stage) -> None:
    """And then its jobs, as GitHub's and GitLab's runners run them: with what is released, and with the regression."""
    carry_out(stage, "gate-latency-in-ci")
    project = stage.folder / "gate-latency-in-ci"
    (github,) = yaml.safe_load((project / "workflows/latency.yml").read_text())["jobs"].values()
    checkout, convert, gate = github["steps"]
    assert checkout["uses"].startswith("actions/checkout")
    assert (REPOSITORY / gate["uses"] / "action.yml").is_file()
    where = {"environment": stage.environment, "inside": stage.inside()}
    status, printed = run_gitlab_job(project, {"script": [convert["run"]]}, **where)
    assert status == 0, printed
    quick = {**gate["with"], "pairs": "3", "max-pairs": "3"}  # three pairs settle nothing but what is many times slower
    slower = {**quick, "candidate": quick["candidate"].replace("int8", "int16x8")}
    status, told, summary, printed = run_action(project, slower, **where)
    assert (status, told["outcome"]) == (3, "regressed"), printed
    assert "1 of 1 regressed" in summary
    status, told, _, printed = run_action(project, {**quick, "target": "unplugged"}, **where)
    assert (status, told["outcome"]) == (0, "inconclusive"), printed
    gitlab = yaml.safe_load((project / ".gitlab-ci.yml").read_text())["latency"]
    status, printed = run_gitlab_job(project, gitlab, more=" --pairs 3 --max-pairs 3 --tolerance 60%", **where)
    assert status in (0, *gitlab["allow_failure"]["exit_codes"]), printed
    assert (project / gitlab["artifacts"]["reports"]["junit"]).is_file()
