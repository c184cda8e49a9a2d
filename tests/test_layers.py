"""The design's one-way layers, checked over the import statements."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.paths import ROOT

LAYERS = (
    {"errors", "portable", "serving"},
    {"expressions"},
    {"utils"},
    {"config"},
    {"data"},
    {"models"},
    {"objectives"},
    {"training"},
    {"evaluation", "contamination"},
    {"attribution", "comparison", "experiments"},
    {"tracking", "model_card"},
    {"prediction"},
    {"pipeline"},
    {"commands"},
    {"cli"},
    {"__main__"},
)
"""Packages and modules of `fer`, lowest first. Each imports only what stands before its own line, and itself."""
DOORS = {
    "mlflow": ("fer/tracking/", "fer/serving.py"),
    "click": ("fer/cli.py",),
    "yaml": ("fer/utils/yaml_files.py",),
    "pl_bolts": ("fer/models/bolts.py",),
    "captum": ("fer/prediction/explain.py",),
    "gradio": ("fer/prediction/page.py",),
    "pyarrow": ("fer/prediction/features.py",),
    "jinja2": ("fer/utils/rendering.py",),
    "requests": ("fer/utils/", "fer/attribution/commons.py"),
}
PORTABLE = ROOT / "fer/portable"
PORTABLE_NEEDS = {"numpy", "PIL", "onnxruntime", "torch", "torchvision", "safetensors"}
"""The package that goes along with a model under another name, and all it may import beside the standard library."""
MODULES = sorted((ROOT / "fer").rglob("*.py"))


def imported(path: Path) -> list[str]:
    names = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 or path.parent == PORTABLE, "imports are absolute"
            names += ["." * node.level + f"{node.module}.{alias.name}" for alias in node.names]
    return names


def unit(name: str) -> str:
    """`fer.data.batches` -> `data`."""
    return name.split(".")[1]


def layer(name: str) -> int:
    return next(number for number, packages in enumerate(LAYERS) if name in packages)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_imports_only_from_layers_before_its_own(path: Path) -> None:
    parts = path.relative_to(ROOT).with_suffix("").parts
    if parts == ("fer", "__init__"):
        return
    own = parts[1]
    others = {unit(name) for name in imported(path) if name.startswith("fer.")} - {own}
    upwards = [other for other in others if layer(other) >= layer(own)]
    assert not upwards, f"{own} imports {upwards}"


def test_what_goes_along_with_a_model_needs_nothing_of_this_project() -> None:
    allowed = set(sys.stdlib_module_names) | PORTABLE_NEEDS
    for path in PORTABLE.glob("*.py"):
        for name in imported(path):
            first, second, *_ = f"{name}.".split(".")
            own = first == "" and (PORTABLE / f"{second}.py").is_file()
            assert own or first in allowed, f"{path.name} imports {name}"


@pytest.mark.parametrize("package", DOORS)
def test_a_package_is_imported_through_its_door_only(package: str) -> None:
    for path in MODULES:
        place = path.relative_to(ROOT).as_posix()
        if not place.startswith(DOORS[package]):
            assert not [name for name in imported(path) if name.split(".")[0] == package], place


def test_fine_tuning_and_evaluation_never_import_bolts() -> None:
    code = "import sys, fer.commands.finetune, fer.commands.evaluate; sys.exit('pl_bolts' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
