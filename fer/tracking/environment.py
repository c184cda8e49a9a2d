"""What a run was computed with: code, packages, machine."""

import os
import platform
import subprocess
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("torch", "torchvision", "lightning", "lightning-bolts", "mlflow", "numpy", "pillow")


@cache
def environment_tags() -> dict[str, str]:
    """Return tags of commit, dirty flag, versions and hardware."""
    import torch

    tags = {f"version.{name}": _version(name) for name in PACKAGES}
    tags |= {"version.python": platform.python_version(), "version.fer": _version("fer-experiments")}
    tags |= {"hardware.cpu": _cpu(), "hardware.cores": str(os.cpu_count()), "hardware.system": platform.platform()}
    if torch.cuda.is_available():
        tags["hardware.gpu"] = torch.cuda.get_device_name()
    return tags | _git_tags(Path(__file__).parents[2])


@dataclass(frozen=True)
class CodeVersion:
    """Which code runs.

    Attributes:
        commit: The commit, or `unknown` outside a repository.
        dirty: Whether tracked files differ from it.
    """

    commit: str
    dirty: bool

    @property
    def doubt(self) -> str:
        """Return why results of this code cannot be recognised as such later; empty if they can."""
        if self.commit == "unknown":
            return "the code's commit is unknown"
        return f"the code differs from commit {self.commit[:8]} (changes not committed)" if self.dirty else ""


def code_version() -> CodeVersion:
    """Return which code runs, as the tags of every run say it."""
    tags = environment_tags()
    return CodeVersion(tags["git.commit"], tags.get("git.dirty") == "true")


def _git_tags(folder: Path) -> dict[str, str]:
    """Return the commit, and whether tracked files differ from it (MLflow's own tag ignores that)."""
    try:
        commit = _git(folder, "rev-parse", "HEAD")
        dirty = bool(_git(folder, "status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.SubprocessError):
        return {"git.commit": "unknown"}
    return {"git.commit": commit, "git.dirty": str(dirty).lower()}


def _git(folder: Path, *words: str) -> str:
    done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, check=True, timeout=20)
    return done.stdout.strip()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"


def _cpu() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor()
