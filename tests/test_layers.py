"""The design's one-way layers, checked over the import statements."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = [
    {"errors"},
    {"expressions", "signals", "processes", "downloading"},
    {"options"},
    {"config"},
    {"data", "models", "metrics", "report"},
    {"objectives", "figures", "inference", "devices", "optimization", "checkpoints", "progress"}
    | {"attribution", "credited_sheets"},
    {"training", "tracking"},
    {"commands"},
    {"cli"},
    {"__main__"},
]
WITHIN = {("report", "metrics"), ("credited_sheets", "attribution"), ("credited_sheets", "figures")}
"""Imports allowed inside one layer."""
ALONE = {"serving"}
"""Modules that import nothing of the project; whoever needs them may import them."""
DOORS = {
    "mlflow": ("fer/tracking/", "fer/serving.py"),
    "click": ("fer/cli.py",),
    "yaml": ("fer/options.py",),
    "pl_bolts": ("fer/models/bolts.py",),
}
MODULES = sorted((ROOT / "fer").rglob("*.py"))


def imported(path: Path) -> list[str]:
    names = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names += [f"{node.module}.{alias.name}" for alias in node.names]
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


@pytest.mark.parametrize("package", DOORS)
def test_a_package_is_imported_through_its_door_only(package: str) -> None:
    for path in MODULES:
        place = path.relative_to(ROOT).as_posix()
        if not place.startswith(DOORS[package]):
            assert not [name for name in imported(path) if name.split(".")[0] == package], place


def test_fine_tuning_and_evaluation_never_import_bolts() -> None:
    code = "import sys, fer.commands.finetune, fer.commands.evaluate; sys.exit('pl_bolts' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
