import shutil

import mlflow
import pytest

from fer.tracking.cards import log_card, pinned
from fer.tracking.registry import register

TAGS = {"validation_digest": "v1", "protocol": "p", "terms": "none"}


@pytest.fixture
def versions(client, downloaded, tmp_path) -> list[str]:
    """The ids of two logged models, registered as versions 1 and 2 of fer-demo; the first is the champion."""
    shutil.copytree(downloaded, tmp_path / "files")
    ids = []
    for _ in range(2):
        logged = client.create_logged_model("0")
        client.log_model_artifacts(logged.model_id, str(tmp_path / "files"))
        client.finalize_logged_model(logged.model_id, "READY")
        register("fer-demo", logged.model_id, 0.5, TAGS, promote=False)
        ids.append(logged.model_id)
    return ids


def test_a_card_comes_along_with_the_version_it_belongs_to_and_with_no_other(versions, tmp_path):
    log_card(versions[0], {"README.md": "# fer-demo\nüber", "LICENSE.md": "free"})
    for number, address in enumerate(("models:/fer-demo@champion", "models:/fer-demo/1", f"models:/{versions[0]}")):
        folder = tmp_path / str(number)
        mlflow.artifacts.download_artifacts(address, dst_path=str(folder))
        assert (folder / "README.md").read_text(encoding="utf-8") == "# fer-demo\nüber", address
        assert {"LICENSE.md", "MLmodel"} <= {path.name for path in folder.iterdir()}
    mlflow.artifacts.download_artifacts("models:/fer-demo/2", dst_path=str(tmp_path / "other"))
    assert not (tmp_path / "other" / "README.md").exists()


def test_a_model_with_a_card_still_loads(versions):
    log_card(versions[1], {"README.md": "# fer-demo"})
    assert mlflow.pyfunc.load_model("models:/fer-demo/2").metadata is not None


def test_an_alias_is_pinned_to_its_version_and_any_other_address_stays(client, versions):
    assert pinned("models:/fer-demo@champion") == "models:/fer-demo/1"
    client.set_registered_model_alias("fer-demo", "champion", "2")
    assert pinned("models:/fer-demo@champion") == "models:/fer-demo/2"
    for address in ("models:/fer-demo/1", "models:/nobody@champion", "models:/fer-demo@nobody", "runs:/0", "a@b"):
        assert pinned(address) == address
