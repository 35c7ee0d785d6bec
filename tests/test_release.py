"""One version everywhere, and workflows that do what a developer can do here."""

import os
import re
import runpy
from datetime import date
from pathlib import Path

import pytest
import setuptools
import yaml

import skl_sae

ROOT = Path(__file__).parent.parent
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


def steps(workflow):
    return [step for job in workflow["jobs"].values() for step in job["steps"]]


def permissions(workflow):
    """Everything that a workflow or one of its jobs may do beyond reading the source."""
    granted = {("all", *item) for item in workflow["permissions"].items()}
    for name, job in workflow["jobs"].items():
        granted |= {(name, *item) for item in job.get("permissions", {}).items()}
    return granted - {("all", "contents", "read")}


@pytest.fixture(scope="module")
def workflows():
    return {path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) for path in WORKFLOWS}


def test_changes_and_citation_are_of_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    changes = (ROOT / "CHANGES.md").read_text(encoding="utf-8")
    newest = re.search(r"^## (\S+) \((.+)\)$", changes, re.MULTILINE)
    assert citation["version"] == newest[1] == skl_sae.__version__
    assert citation["date-released"] == date.fromisoformat(newest[2])


@pytest.mark.skipif(os.environ.get("GITHUB_REF_TYPE") != "tag", reason="no tag is built")
def test_the_tag_is_of_this_version():
    assert os.environ["GITHUB_REF_NAME"] == f"v{skl_sae.__version__}"


def test_the_description_leads_to_no_file_beside_it(monkeypatch):
    """An index shows the README's text alone."""
    told = {}
    monkeypatch.setattr(setuptools, "setup", told.update)
    monkeypatch.chdir(ROOT)
    runpy.run_path("setup.py")
    description = told["long_description"]
    assert told["version"] == skl_sae.__version__
    assert "## Ten lines" in description and "(`docs/benchmarks.rst`)" in description
    assert not re.findall(r"\]\((?!https:)|<", description)


def test_workflows_call_only_make(workflows):
    assert {"tests", "docs", "release"} <= set(workflows)
    targets = set(re.findall(r"^([\w-]+):", MAKEFILE, re.MULTILINE))
    for workflow in workflows.values():
        commands = [line for step in steps(workflow) for line in step.get("run", "").splitlines()]
        assert commands
        called = [re.fullmatch(r"make ([\w-]+)(?: \w+=[\w-]+)?", line) for line in commands]
        assert all(called), commands
        assert {call[1] for call in called} <= targets


def test_workflows_have_few_rights_and_pinned_actions(workflows):
    actions = {
        step["uses"] for flow in workflows.values() for step in steps(flow) if "uses" in step
    }
    assert not [
        name for name in actions if not re.fullmatch(r"[\w-]+/[\w-]+@(release/)?v\d+", name)
    ]
    assert {name: permissions(workflow) for name, workflow in workflows.items()} == {
        "tests": set(),
        "docs": {("deploy", "pages", "write"), ("deploy", "id-token", "write")},
        "release": {("publish", "id-token", "write")},
    }


def test_what_is_published_was_tried_and_needs_no_password(workflows):
    jobs = workflows["release"]["jobs"]
    assert jobs["publish"]["needs"] == "build" and jobs["publish"]["environment"] == "release"
    assert jobs["publish"]["steps"][-1] == {"uses": "pypa/gh-action-pypi-publish@release/v1"}
    assert "secrets." not in "".join(path.read_text(encoding="utf-8") for path in WORKFLOWS)
    # YAML 1.1 reads the key `on` as true.
    assert workflows["release"][True] == {"push": {"tags": ["v*"]}}
    assert "make test-versions" in [step.get("run") for step in jobs["build"]["steps"]]


def test_pythons_that_are_tested_are_admitted(workflows):
    tested = workflows["tests"]["jobs"]["test"]["strategy"]["matrix"]["python-version"]
    text = (ROOT / "setup.py").read_text(encoding="utf-8")
    assert tested[0] == re.search(r'python_requires=">=(.+)"', text)[1]
