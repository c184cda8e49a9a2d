import json
from pathlib import Path

import pytest

from fer.commands.beginning import expected_framing
from fer.data.places import summary_path
from fer.data.registry import DATASETS
from fer.errors import DataError


def prepared_with(root: Path, **framings: str) -> None:
    for name, framing in framings.items():
        path = summary_path(root, name)
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps({"framing": framing}))


@pytest.mark.parametrize(
    ("names", "framing", "wanted"),
    [
        (["raf"], "none", "detect"),
        (["ferplus"], "none", "detect"),
        (["kdef"], "auto", "detect"),
        (["kdef"], "none", "none"),
        (["raf", "kdef"], "none", "detect"),
        (["drawn-raf", "drawn-kdef"], "none", "none"),
        (["drawn-raf", "ferplus"], "none", "detect"),
    ],
    ids=str,
)
def test_a_model_expects_faces_as_its_training_sets_showed_them(
    tmp_path: Path, names: list[str], framing: str, wanted: str
) -> None:
    prepared_with(tmp_path, **dict.fromkeys(names, framing))
    assert expected_framing([DATASETS[name] for name in names], tmp_path) == wanted


def test_a_set_whose_summary_is_gone_says_to_prepare_it_again(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="run prepare again for 'kdef'"):
        expected_framing([DATASETS["kdef"]], tmp_path)
