"""`attribution` on a stand-in of Commons, and `prepare` of a set it obtains from a stand-in of its repository."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from fer.attribution import commons
from fer.attribution.credits import (
    HAND,
    by_hand_path,
    credits_path,
    load_by_hand,
    load_credits,
    load_record,
    save_credits,
    shipped_credits,
)
from fer.commands.attribution import run
from fer.config.data import AttributionConfig, PrepareConfig
from fer.data.datasets.wikimedia import FOLDER, listed_files
from fer.errors import ConfigError, DataError
from fer.utils import http
from tests.attribution.mediawiki import Wiki, info, running
from tests.data.datasets.repository import drawn_repository, served

CONTACT = "https://example.org/project"


@pytest.fixture
def wiki(monkeypatch: pytest.MonkeyPatch) -> Iterator[Wiki]:
    """Commons with every second likely title, and without waiting."""
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.delenv("FER_CONTACT", raising=False)
    monkeypatch.setattr(http, "time", SimpleNamespace(sleep=lambda seconds: None))
    with running(Wiki()) as started:
        for item in [item for item in listed_files() if item.title][::2]:
            started.pages[item.title] = info(item.title, Artist="Ann", LicenseShortName="CC BY 2.0")
        monkeypatch.setattr(commons, "API_URL", started.address)
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
    assert told.startswith("credits of 84 Wikimedia pictures: 35 resolved (looked up: ")
    unresolved = [credit for credit in credits.values() if not credit.resolved]
    assert len(unresolved) == 49
    for credit in unresolved:
        assert f"unresolved: {credit.file}: {credit.page}\n" in told
    assert "all rights reserved" in told


def test_a_title_entered_by_hand_is_looked_up(wiki: Wiki, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    credit = next(credit for credit in run(config(tmp_path)).values() if not credit.resolved)
    assert "give its title with `fer attribution set <picture> --title <title>`" in capsys.readouterr().out
    wiki.pages["File:By hand.jpg"] = info("File:By hand.jpg", Artist="Bob", LicenseShortName="CC0")
    assert not run(entry(tmp_path, credit.file, title="by_hand.jpg"))[credit.file].resolved
    assert f"{credit.file}: File:by hand.jpg, which the next refresh looks up" in capsys.readouterr().out
    again = run(config(tmp_path))
    assert (again[credit.file].author, again[credit.file].resolved) == ("Bob", True)
    assert sum(credit.resolved for credit in again.values()) == 36


@pytest.mark.parametrize("loss", ["extension", "names", "pages"])
def test_what_a_refresh_no_longer_proves_is_kept_and_said(
    wiki: Wiki, tmp_path: Path, capsys: pytest.CaptureFixture[str], loss: str
) -> None:
    before = run(config(tmp_path))
    assert "kept from the look-up of " not in capsys.readouterr().out
    if loss == "extension":
        wiki.extended = False
    elif loss == "names":
        wiki.pages = {title: info(title) for title in wiki.pages}
    else:
        wiki.pages = {}
    after = run(config(tmp_path))
    told = capsys.readouterr().out
    assert told.startswith("credits of 84 Wikimedia pictures: 35 resolved (looked up: ")
    assert told.count("kept from the look-up of ") == 41
    for name, credit in after.items():
        assert (credit.author, credit.licence) == (before[name].author, before[name].licence)


FILE = "6/Sword_of_Anger.jpg"
WHOLE = {"author": "Jane Roe", "licence": "CC BY 4.0", "source": "https://photos.example.org/1"}


def entry(root: Path, file: str, **options: str) -> AttributionConfig:
    return AttributionConfig(action="set", data_root=str(root), file=file, **options)


def test_a_credit_entered_by_hand_is_shown_and_no_refresh_overwrites_it(
    wiki: Wiki, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wiki.pages["File:Sword of Anger.jpg"] = info("File:Sword of Anger.jpg", Artist="Ann", LicenseShortName="CC0")
    run(entry(tmp_path, FILE, **WHOLE))
    assert f"{FILE}: Jane Roe, CC BY 4.0 (entered by hand: {by_hand_path(tmp_path)})\n" in capsys.readouterr().out
    entered = load_credits(tmp_path)[FILE]
    assert (entered.author, entered.licence, entered.page) == tuple(WHOLE.values())
    assert (entered.source, entered.resolved) == (HAND, True)
    file = by_hand_path(tmp_path).read_bytes()
    assert run(config(tmp_path))[FILE] == entered
    assert "  1 entered by hand: " in capsys.readouterr().out
    assert by_hand_path(tmp_path).read_bytes() == file
    assert load_record(tmp_path)[FILE].author == "Ann"


def test_an_entry_can_be_replaced_and_removed(wiki: Wiki, tmp_path: Path) -> None:
    run(entry(tmp_path, FILE, **WHOLE))
    url = "https://creativecommons.org/licenses/by/4.0/"
    changed = run(entry(tmp_path, FILE, **WHOLE | {"author": "J. Roe"}, licence_url=url, title="Sword"))[FILE]
    assert (changed.author, changed.licence_url, changed.title) == ("J. Roe", url, "Sword")
    other = run(entry(tmp_path, "3/Disgust.jpg", **WHOLE))
    assert (other[FILE], other["3/Disgust.jpg"].author) == (changed, "Jane Roe")
    unset = AttributionConfig(action="unset", data_root=str(tmp_path), file=FILE)
    assert run(unset)[FILE] == shipped_credits()[FILE]
    assert set(load_by_hand(tmp_path)) == {"3/Disgust.jpg"}
    with pytest.raises(ConfigError, match=r"no credit of 6/Sword.* is entered by hand; entered are: 3/Disgust.jpg"):
        run(unset)


def test_an_entry_does_not_hide_what_the_file_itself_says(tmp_path: Path) -> None:
    file = next(item.file for item in listed_files() if item.claims == "all rights reserved")
    (_, note) = run(entry(tmp_path, file, **WHOLE))[file].notes[::-1]
    assert note == 'contradiction: the file itself says "all rights reserved", the entry by hand "CC BY 4.0"'


@pytest.mark.parametrize(
    ("file", "options", "said"),
    [
        ("6/Sword_of_Angr.jpg", WHOLE, "unknown picture '6/Sword_of_Angr.jpg': did you mean '6/Sword_of_Anger.jpg'?"),
        ("", WHOLE, "name the picture"),
        (FILE, {"author": "Jane Roe"}, "also needs licence, source: give author, licence and source, or title alone"),
        (FILE, {"licence_url": "https://example.org/"}, "also needs author, licence, source"),
        (FILE, {"title": "A.jpg", "licence": "CC0"}, "also needs author, source"),
        (FILE, {}, "also needs author, licence, source"),
        (FILE, WHOLE | {"author": "@"}, "author '@' must hold letters or digits"),
        (FILE, WHOLE | {"licence": "<script>x</script>"}, "licence '<script>x</script>' must hold letters or digits"),
        (FILE, WHOLE | {"source": "a letter"}, "source 'a letter' must be a web address"),
        (FILE, WHOLE | {"licence_url": "javascript:x"}, "licence_url 'javascript:x' must be a web address"),
        (FILE, {"title": "A|B.jpg"}, "title 'A|B.jpg' holds a character that no title on Commons may"),
    ],
)
def test_an_entry_that_cannot_stand_is_one_sentence_and_changes_nothing(
    tmp_path: Path, file: str, options: dict[str, str], said: str
) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)):
        run(entry(tmp_path, file, **options))
    assert not by_hand_path(tmp_path).exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"action": "refresh", "author": "Ann"}, "author belongs to `fer attribution set <picture>`, not to refresh"),
        (
            {"action": "unset", "file": FILE, "title": "A"},
            "title belongs to `fer attribution set <picture>`, not to unset",
        ),
        ({"file": FILE}, "show takes no picture: leave out '6/Sword_of_Anger.jpg'"),
    ],
)
def test_options_that_an_action_would_ignore_are_refused(tmp_path: Path, options: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)):
        run(AttributionConfig(data_root=str(tmp_path), **options))


def test_entries_are_made_and_removed_on_the_command_line(tmp_path: Path) -> None:
    given = [part for name, value in WHOLE.items() for part in (f"--{name}", value)]
    done = process("set", FILE, *given, root=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{FILE}: Jane Roe, CC BY 4.0 (entered by hand: ")
    assert "  1 entered by hand: " in process("show", root=tmp_path).stdout
    wrong = process("unset", "--file", "6/Sword_of_Angr.jpg", root=tmp_path)
    assert wrong.returncode == 2
    assert wrong.stderr == "fer: unknown picture '6/Sword_of_Angr.jpg': did you mean '6/Sword_of_Anger.jpg'?\n"
    assert process("unset", FILE, root=tmp_path).stdout.startswith(f"{FILE}: no longer entered by hand\n")


def test_a_failed_refresh_leaves_the_record_as_it_was(wiki: Wiki, tmp_path: Path) -> None:
    save_credits(credits_path(tmp_path), shipped_credits())
    before = credits_path(tmp_path).read_bytes()
    wiki.troubles = ["", "half"]
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
        "import sys\nfrom fer.attribution import commons\nfrom fer.cli import main\n"
        f"commons.API_URL = {commons.API_URL!r}\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit as stop:\n    code = stop.code\nelse:\n    code = 0\n"
        "print('loaded:', [name for name in ('mlflow', 'torch', 'matplotlib') if name in sys.modules])\nsys.exit(code)"
    )
    line = [sys.executable, "-c", code, "attribution", *arguments, "--data_root", str(root)]
    return subprocess.run(line, capture_output=True, text=True, check=False)


def test_the_action_is_a_word_or_an_option_and_nothing_heavy_is_loaded(wiki: Wiki, tmp_path: Path) -> None:
    done = process("refresh", "--contact", CONTACT, root=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "35 resolved" in done.stdout
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
    assert done.source == str(root / FOLDER)
    assert {row.source_name for row in done.manifest.images} == set(repository.files)
    told = capsys.readouterr().out
    assert "2021 set" not in told
    if contact:
        assert "35 resolved" in told
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
    assert str(tmp_path / "data" / FOLDER) in str(caught.value)
    assert not (tmp_path / "mlflow.db").exists()
    assert not (tmp_path / "data" / FOLDER).exists()
