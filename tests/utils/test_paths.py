import errno
from pathlib import Path

import pytest

from fer.errors import ConfigError, DataError
from fer.utils.paths import expand_home, printable, resolve_data_root, translate_disk_errors


def test_the_data_root_is_option_then_environment_then_2021_then_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "project"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("FER_DATA", raising=False)
    assert resolve_data_root() == here / "datasets"
    (tmp_path / "datasets").mkdir()
    assert resolve_data_root() == tmp_path / "datasets"
    monkeypatch.setenv("FER_DATA", "~/faces")
    assert resolve_data_root() == tmp_path / "home/faces"
    assert resolve_data_root("other") == here / "other"


@pytest.mark.parametrize("option", ["~nobody-of-this-name/data", "n" * 300, "zero\0byte"])
def test_a_data_root_that_cannot_be_is_refused(option: str) -> None:
    with pytest.raises(ConfigError, match="cannot be a folder"):
        resolve_data_root(option)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("smile.jpg", "smile.jpg"),
        ("چهره é.jpg", "چهره é.jpg"),
        ("a\udcfe.jpg", r"a\xfe.jpg"),
        ("a\nb\r\u2028", r"a\nb\r\u2028"),
    ],
)
def test_what_is_no_utf8_or_would_break_a_line_is_escaped(name: str, shown: str) -> None:
    assert printable(name) == shown
    assert printable(shown) == shown


@pytest.mark.parametrize(
    ("number", "sentence"),
    [
        (
            errno.ENOSPC,
            r"^no space left under root \(\d+\.\d MiB free\): free some or choose another data_root; "
            "nothing half-written was kept$",
        ),
        (
            errno.EACCES,
            r"^there may not be read or written \(why\): change its permissions or choose another",
        ),
        (errno.ENOTDIR, r"^there is in the way \(why\): move it or choose another data_root$"),
    ],
)
def test_what_a_disk_refuses_is_one_sentence(number: int, sentence: str) -> None:
    with pytest.raises(DataError, match=sentence), translate_disk_errors(Path("root")):
        raise OSError(number, "why", "there")


def test_another_error_of_the_system_stays_itself() -> None:
    with pytest.raises(OSError, match="input/output"), translate_disk_errors(Path("root")):
        raise OSError(errno.EIO, "input/output")


def test_a_home_is_expanded_and_nobodys_home_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    assert expand_home("~/faces") == Path("/home/someone/faces")
    assert expand_home(Path("faces")) == Path("faces")
    assert expand_home("~nobody-of-this-name/faces") == Path("~nobody-of-this-name/faces")
