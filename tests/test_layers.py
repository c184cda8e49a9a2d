"""The design's one-way layers, checked over the import statements."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.paths import ROOT

LAYERS = [
    {"errors", "portable"},
    {"expressions", "signals", "processes", "downloading", "yaml_files"},
    {"options"},
    {"config"},
    {"experiments"},
    {"data", "models", "metrics", "report", "reported", "statistics", "resampling", "calibration", "devices", "lars"},
    {"objectives", "figures", "inference", "optimization", "checkpoints", "progress"}
    | {"attribution", "credited_sheets", "card", "exporting", "spread"},
    {"comparison"},
    {"annotating", "answer_page", "explaining", "predictions"},
    {"training", "tracking"},
    {"recognition"},
    {"commands"},
    {"cli"},
    {"__main__"},
]
WITHIN = {(name, "metrics") for name in ("report", "statistics", "resampling", "calibration")}
WITHIN |= {("answer_page", "annotating")}
WITHIN |= {
    ("statistics", "resampling"),
    ("report", "resampling"),
    ("credited_sheets", "attribution"),
    ("credited_sheets", "figures"),
}
WITHIN |= {("card", "attribution")}
"""Imports allowed inside one layer."""
ALONE = {"serving"}
"""Modules that import nothing of the project; whoever needs them may import them."""
DOORS = {
    "mlflow": ("fer/tracking/", "fer/serving.py"),
    "click": ("fer/cli.py",),
    "yaml": ("fer/yaml_files.py",),
    "pl_bolts": ("fer/models/bolts.py",),
    "captum": ("fer/explaining.py",),
    "gradio": ("fer/commands/demo.py",),
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
    """`fer.data.raf` -> `data`."""
    return name.split(".")[1]


def layer(name: str) -> int:
    return next(number for number, members in enumerate(LAYERS) if name in members)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_imports_only_from_layers_before_its_own(path: Path) -> None:
    parts = path.relative_to(ROOT).with_suffix("").parts
    if len(parts) == 2 and parts[1] == "__init__":
        return
    own = parts[1]
    others = {unit(name) for name in imported(path) if name.startswith("fer.")} - {own}
    if own in ALONE:
        assert not others
        return
    for other in others - ALONE:
        assert layer(other) < layer(own) or (own, other) in WITHIN, f"{own} imports {other}"


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
