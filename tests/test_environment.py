"""The recorded environments: within the ranges of pyproject.toml, whole, and checked against hashes."""

import hashlib
import re
import tomllib

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.paths import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCKS = ("requirements.lock", "requirements-test.lock")
PYTHONS = ("3.11", "3.12")
LIMIT = 1_000_000
"""Bytes that both locks may have together."""


def recorded(name: str, python: str) -> dict[str, tuple[Version, frozenset[str]]]:
    """Return the packages that a lock has for Linux, each with its version and the hashes of its files."""
    machine = {"python_version": python, "python_full_version": f"{python}.0", "sys_platform": "linux"}
    packages = {}
    for line in (ROOT / name).read_text().replace("\\\n", " ").splitlines():
        if line.startswith("#"):
            continue
        match = re.fullmatch(r"(\S+==.*?)((?:\s+--hash=sha256:[0-9a-f]{64})+)\s*", line)
        assert match, f"{line!r} is no exact pin with hashes"
        requirement = Requirement(match[1].strip())
        if requirement.marker and not requirement.marker.evaluate({**machine, "platform_machine": "x86_64"}):
            continue
        (pin,) = requirement.specifier
        assert pin.operator == "=="
        assert requirement.name not in packages, f"{requirement.name} stands there twice"
        packages[canonicalize_name(requirement.name)] = Version(pin.version), frozenset(match[2].split())
    return packages


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("name", LOCKS)
def test_every_dependency_is_recorded_inside_its_range(name: str, python: str) -> None:
    packages = recorded(name, python)
    wanted = list(PROJECT["dependencies"])
    if "test" in name:
        for extra in PROJECT["optional-dependencies"].values():
            wanted += extra
    for item in map(Requirement, wanted):
        if item.name != PROJECT["name"]:
            pin, _ = packages[canonicalize_name(item.name)]
            assert item.specifier.contains(pin), f"{item.name} {pin} is outside {item.specifier}"


@pytest.mark.parametrize("python", PYTHONS)
def test_the_tests_run_on_the_recorded_environment(python: str) -> None:
    assert recorded(LOCKS[0], python).items() <= recorded(LOCKS[1], python).items()


def test_mlflow_and_conda_install_the_recorded_environment_and_notice_a_new_one() -> None:
    text = (ROOT / "conda.yaml").read_text()
    environment = yaml.safe_load(text)
    python, pip, packages = environment["dependencies"]
    assert (pip, packages) == ("pip", {"pip": ["-r requirements.lock"]})
    assert SpecifierSet(PROJECT["requires-python"]).contains(python.removeprefix("python="))
    digest = hashlib.sha256((ROOT / "requirements.lock").read_bytes()).hexdigest()
    assert f"# sha256 of requirements.lock: {digest}\n" in text, "run `bash .ci/lock`"


def test_the_locks_are_small_and_name_no_address() -> None:
    assert sum((ROOT / name).stat().st_size for name in LOCKS) <= LIMIT
    for name in LOCKS:
        text = (ROOT / name).read_text()
        assert "://" not in text
        assert not re.search(r"^\s*--(?!hash=)", text, re.MULTILINE), "options would name an index"


def test_ci_checks_the_hashes() -> None:
    script = (ROOT / ".ci" / "run").read_text()
    assert "uv pip sync --compile-bytecode --require-hashes requirements-test.lock\n" in script


@pytest.mark.parametrize("malware", ["2.6.2", "2.6.3"])
def test_the_versions_of_lightning_that_were_malware_are_outside_its_range(malware: str) -> None:
    (lightning,) = [item for item in map(Requirement, PROJECT["dependencies"]) if item.name == "lightning"]
    assert not lightning.specifier.contains(malware)
