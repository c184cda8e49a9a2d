"""Where a training starts: from the catalogue, a file or folder, or what an earlier run made."""

from dataclasses import replace
from pathlib import Path

from fer.models.weights import ADDRESSES, Start, from_folder, obtain
from fer.tracking.registry import fetch_model


def starting_point(init: str, arch: str, folder: Path) -> Start:
    """Return the starting weights an option `init` stands for.

    Args:
        init: `runs:/<id>` (a run of `pretrain` gives its encoder, one of `finetune` its classifier's trunk),
            `runs:/<id>/<artifact>`, `models:/<name>@<alias>`, `models:/<name>/<version>`, or what `obtain` takes.
        arch: The trunk they are for.
        folder: Where downloads from MLflow go; not needed afterwards.

    Raises:
        ConfigError: There is no such name, file or folder.
        ModelError: There is no such run or model, or its weights cannot be read or are of another architecture.
    """
    if not init.startswith(ADDRESSES):
        return obtain(init, arch)
    fetched = fetch_model(init, folder)
    start = from_folder(fetched.path) if fetched.path.is_dir() else obtain(str(fetched.path), arch)
    return replace(start, name=init, origin=init, run_id=fetched.run_id)
