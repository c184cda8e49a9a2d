"""`attribution` on a stand-in of Commons, and `prepare` of a set it obtains from a stand-in of its repository."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from fer.commands import attribution
from fer.commands.attribution import run
from fer.config import AttributionConfig, PrepareConfig
from fer.data import commons
from fer.data.credits import credits_path, load_credits, save_credits, shipped_credits
from fer.data.wikimedia_files import PLACE, listed_files
from fer.errors import ConfigError, DataError
from tests.data.mediawiki import Wiki, info, running
from tests.data.repository import drawn_repository, served

CONTACT = "https://example.org/project"


@pytest.fixture
def wiki(monkeypatch: pytest.MonkeyPatch) -> Iterator[Wiki]:
    """Commons with every second likely title, and without waiting."""
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.delenv("FER_CONTACT", raising=False)
    monkeypatch.setattr(commons, "time", SimpleNamespace(sleep=lambda seconds: None))
    with running(Wiki()) as started:
        for item in [item for item in listed_files() if item.title][::2]:
            started.pages[item.title] = info(item.title, Artist="Ann", LicenseShortName="CC BY 2.0")
        monkeypatch.setattr(attribution, "ADDRESS", started.address)
        yield started


def config(root: Path, **options: str) -> AttributionConfig:
    return AttributionConfig(**{"action": "refresh", "data_root": str(root), "contact": CONTACT} | options)


def test_a_refresh_fills_the_data_roots_record_and_lists_the_rest(
    wiki: Wiki, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    credits = run(config(tmp_path))
    assert load_credits(tmp_path) == credits
    assert len(credits) == 84
    told = capsys.readouterr().out
    assert told.startswith("credits of 84 Wikimedia pictures: 41 resolved (looked up: ")
    unresolved = [credit for credit in credits.values() if not credit.resolved]
    assert len(unresolved) == 43
    for credit in unresolved:
        assert f"unresolved: {credit.file}: {credit.page}\n" in told
    assert "all rights reserved" in told


def test_the_address_is_an_option(wiki: Wiki, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attribution, "ADDRESS", "http://127.0.0.1:9/w/api.php")
    run(config(tmp_path, api=wiki.address))
    assert wiki.asked


def test_a_title_put_into_the_record_by_hand_is_looked_up(wiki: Wiki, tmp_path: Path) -> None:
    credits = run(config(tmp_path))
    credit = next(credit for credit in credits.values() if not credit.resolved)
    wiki.pages["File:By hand.jpg"] = info("File:By hand.jpg", Artist="Bob", LicenseShortName="CC0")
    record = json.loads(credits_path(tmp_path).read_text(encoding="utf-8"))
    (entry,) = [entry for entry in record if entry["file"] == credit.file]
    entry["title"] = "File:By hand.jpg"
    credits_path(tmp_path).write_text(json.dumps(record))
    again = run(config(tmp_path))
    assert again[credit.file].author == "Bob"
    assert sum(credit.resolved for credit in again.values()) == 42


def test_a_failed_refresh_leaves_the_record_as_it_was(wiki: Wiki, tmp_path: Path) -> None:
    save_credits(tmp_path, shipped_credits())
    before = credits_path(tmp_path).read_bytes()
    wiki.troubles = ["", *["half"] * 9]
    with pytest.raises(DataError, match="no usable answer"):
        run(config(tmp_path))
    assert credits_path(tmp_path).read_bytes() == before
    assert [path.name for path in credits_path(tmp_path).parent.iterdir()] == ["wikimedia_credits.json"]


def test_showing_asks_nobody_and_writes_nothing(wiki: Wiki, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "data"
    assert run(AttributionConfig(data_root=str(root))) == shipped_credits()
    assert wiki.asked == []
    assert not root.exists()
    told = capsys.readouterr().out
    assert "as shipped, never looked up" in told
    assert told.count("unresolved: ") == sum(not credit.resolved for credit in shipped_credits().values())


@pytest.mark.parametrize("contact", ["", "Ann\r\nX: y", "مریم", "a) b"])
def test_nobody_is_asked_without_a_contact(wiki: Wiki, tmp_path: Path, contact: str) -> None:
    with pytest.raises(ConfigError, match="contact"):
        run(config(tmp_path, contact=contact))
    assert wiki.asked == []


def test_the_contact_may_come_from_the_environment(wiki: Wiki, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FER_CONTACT", "ann@example.org")
    run(config(tmp_path, contact=""))
    assert "(ann@example.org)" in wiki.headers[0]["user-agent"]


def process(*arguments: str, root: Path) -> subprocess.CompletedProcess[str]:
    code = (
        "import sys\nfrom fer.cli import main\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit as stop:\n    code = stop.code\nelse:\n    code = 0\n"
        "print('loaded:', [name for name in ('mlflow', 'torch', 'matplotlib') if name in sys.modules])\nsys.exit(code)"
    )
    line = [sys.executable, "-c", code, "attribution", *arguments, "--data_root", str(root)]
    return subprocess.run(line, capture_output=True, text=True, check=False)


def test_the_action_is_a_word_or_an_option_and_nothing_heavy_is_loaded(wiki: Wiki, tmp_path: Path) -> None:
    done = process("refresh", "--contact", CONTACT, "--api", wiki.address, root=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "41 resolved" in done.stdout
    assert done.stdout.splitlines()[-1] == "loaded: []"
    shown = process("--action", "show", root=tmp_path)
    assert shown.stdout == done.stdout
    wrong = process("refrsh", root=tmp_path)
    assert wrong.returncode == 2
    assert wrong.stderr == "fer: unknown action 'refrsh': did you mean 'refresh'?\n"


@pytest.mark.parametrize("contact", [CONTACT, ""])
def test_prepare_obtains_the_set_verifies_it_and_looks_its_credits_up(
    wiki: Wiki, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], contact: str
) -> None:
    from fer.commands import prepare

    root = tmp_path / "data"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.setenv("FER_CONTACT", contact)
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)
    with served(drawn_repository(tmp_path / "drawn"), monkeypatch) as repository:
        done = prepare.run(PrepareConfig(dataset="wikimedia", data_root=str(root))).prepared["wikimedia"]
    assert done.source == str(root / PLACE)
    assert {row.source_name for row in done.manifest.images} == set(repository.files)
    told = capsys.readouterr().out
    assert "2021 set" not in told
    if contact:
        assert "41 resolved" in told
        assert credits_path(root).is_file()
    else:
        assert "credits not looked up: Wikimedia asks" in told
        assert wiki.asked == []
    repository.asked.clear()
    assert prepare.run(PrepareConfig(dataset="wikimedia", data_root=str(root))).prepared["wikimedia"].reused
    assert repository.asked == []


def test_prepare_tells_which_pictures_of_another_folder_differ(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from fer.commands import prepare

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)
    with served(drawn_repository(tmp_path / "drawn"), monkeypatch) as repository:
        first, second = list(repository.files)[:2]
        (tmp_path / "drawn" / first).write_bytes(repository.files[second])
        config = PrepareConfig(dataset="wikimedia", source=str(tmp_path / "drawn"), data_root=str(tmp_path / "data"))
        done = prepare.run(config).prepared["wikimedia"]
        assert repository.asked == []
    assert len(done.manifest.images) == 14
    assert f"not the pixels of the 2021 set: 1 ({first})" in capsys.readouterr().out


def test_prepare_without_a_network_is_one_sentence_and_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fer.commands import prepare

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    with served(drawn_repository(tmp_path / "drawn"), monkeypatch):
        pass  # what is left is the address of a server that is gone
    with pytest.raises(DataError, match=r"cannot be downloaded .*source=") as caught:
        prepare.run(PrepareConfig(dataset="wikimedia", data_root=str(tmp_path / "data")))
    assert str(tmp_path / "data" / PLACE) in str(caught.value)
    assert not (tmp_path / "mlflow.db").exists()
    assert not (tmp_path / "data" / PLACE).exists()
