import json
import os
import re
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from fer.attribution.credits import (
    API,
    DOUBT,
    EMBEDDED,
    HAND,
    SHIPPED,
    Credit,
    by_hand_path,
    credits_path,
    load_by_hand,
    load_credits,
    load_record,
    save_credits,
    shipped_credits,
)
from fer.attribution.lookup import initial_credit
from fer.data.datasets.wikimedia import listed_files
from fer.errors import DataError

KNOWN = Credit(
    "6/a.jpg", "ab", title="File:A.jpg", author="Ann", licence="CC0", looked_up="2026-01-02", source=API, notes=("n",)
)


@pytest.mark.parametrize("field", ["title", "author", "licence", "looked_up", "source"])
def test_resolved_needs_title_author_licence_and_a_look_up(field: str) -> None:
    assert KNOWN.resolved
    assert not replace(KNOWN, **{field: ""}).resolved


def test_what_a_file_says_of_itself_is_no_look_up() -> None:
    assert not replace(KNOWN, source=EMBEDDED).resolved


def test_a_doubt_leaves_unresolved_what_is_proven() -> None:
    doubted = replace(KNOWN, notes=("n", f"{DOUBT}the title is a common word"))
    assert (doubted.proven, doubted.resolved) == (True, False)


def test_what_a_person_entered_needs_author_and_licence_but_no_title() -> None:
    entered = replace(KNOWN, source=HAND, title="")
    assert entered.resolved
    assert not replace(entered, author="").resolved
    assert not replace(entered, licence="").resolved


def test_credits_entered_by_hand_come_before_the_records_and_titles_do_not(tmp_path: Path) -> None:
    save_credits(credits_path(tmp_path), {"6/a.jpg": KNOWN, "6/b.jpg": replace(KNOWN, file="6/b.jpg")})
    whole = replace(KNOWN, author="Bob", source=HAND)
    title = Credit("6/b.jpg", "ab", "File:B.jpg", source=HAND)
    save_credits(by_hand_path(tmp_path), {"6/a.jpg": whole, "6/b.jpg": title})
    assert {name: credit.author for name, credit in load_credits(tmp_path).items()} == {
        "6/a.jpg": "Bob",
        "6/b.jpg": "Ann",
    }
    assert {credit.author for credit in load_record(tmp_path).values()} == {"Ann"}
    assert load_by_hand(tmp_path)["6/a.jpg"] == whole


def test_damaged_entries_are_not_to_be_deleted(tmp_path: Path) -> None:
    save_credits(by_hand_path(tmp_path), {})
    by_hand_path(tmp_path).write_text("[")
    with pytest.raises(DataError, match="mend it, or move it away") as caught:
        load_credits(tmp_path)
    assert str(by_hand_path(tmp_path)) in str(caught.value)


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    changed = replace(KNOWN, title_source="entered by hand as File:A.jpg")
    credits = {"6/a.jpg": changed, "1/ب.jpg": Credit("1/ب.jpg", "cd", author="مریم")}
    save_credits(credits_path(tmp_path / "new"), credits)
    assert load_credits(tmp_path / "new") == credits


def test_without_a_look_up_the_shipped_record_serves(tmp_path: Path) -> None:
    assert load_credits(tmp_path) == shipped_credits()


ENTRIES = (
    '{"file": "a"}',
    '{"file": "a", "pixels": "b", "x": ""}',
    '{"file": "a", "pixels": 3}',
    '{"file": "a", "pixels": "b", "notes": [1]}',
    "1",
)
DAMAGED = ["", "{", "[1]", "{}1", "{}", '{"version": 2}', "[" * 100_000]
DAMAGED += [f'{{"version": 2, "credits": [{entry}]}}' for entry in ENTRIES]


@pytest.mark.parametrize("content", DAMAGED)
def test_a_damaged_record_is_named(tmp_path: Path, content: str) -> None:
    path = credits_path(tmp_path)
    save_credits(path, {})
    path.write_text(content)
    with pytest.raises(DataError, match="delete it and refresh") as caught:
        load_credits(tmp_path)
    assert str(path) in str(caught.value)


def test_a_record_of_another_format_is_refused(tmp_path: Path) -> None:
    path = credits_path(tmp_path)
    save_credits(path, {"6/a.jpg": KNOWN})
    path.write_text(path.read_text().replace('"version": 2', '"version": 1'))
    with pytest.raises(DataError, match=r"format 1, not 2.*delete it and refresh"):
        load_credits(tmp_path)


def test_a_record_that_cannot_be_written_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_credits(credits_path(tmp_path), {"6/a.jpg": KNOWN})

    def full(*arguments: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(DataError, match="no space left"):
        save_credits(credits_path(tmp_path), {})
    assert load_credits(tmp_path) == {"6/a.jpg": KNOWN}
    assert list(tmp_path.rglob("*.json*")) == [credits_path(tmp_path)]


def test_others_may_read_a_record(tmp_path: Path) -> None:
    umask = os.umask(0o022)
    try:
        save_credits(credits_path(tmp_path), {})
        assert stat.S_IMODE(credits_path(tmp_path).stat().st_mode) == 0o644
    finally:
        os.umask(umask)


def test_the_shipped_record_accounts_for_all_84_with_a_page_each() -> None:
    credits = shipped_credits()
    assert list(credits) == [item.file for item in listed_files()]
    assert len(credits) == 84
    for item in listed_files():
        credit = credits[item.file]
        assert credit.pixels == item.pixels
        assert credit.page.startswith("https://commons.wikimedia.org/w")
        assert credit.changes == "cropped and resized"


def test_the_shipped_record_says_of_a_picture_nobody_looked_up_only_what_its_file_proves() -> None:
    never = {item.file: initial_credit(item) for item in listed_files() if not shipped_credits()[item.file].looked_up}
    assert {name: shipped_credits()[name] for name in never} == never
    for credit in never.values():
        assert not credit.resolved
        assert (credit.licence, credit.uploader, credit.sha1, credit.restrictions) == ("", "", "", "")
        assert credit.source == (EMBEDDED if credit.author or credit.credit else "")


def test_the_shipped_record_shows_the_known_contradictions() -> None:
    contradicting = {
        name: [note for note in credit.notes if note.startswith("contradiction: ")]
        for name, credit in shipped_credits().items()
    }
    assert {name: notes for name, notes in contradicting.items() if notes} == {
        "3/Fan_Expo_Canada_2015_-_Disgusted_(20876577923).jpg": [
            'contradiction: the file itself says "CC BY-NC 3.0", which no licence accepted on Commons does'
        ],
        "7/Young_Ashaninka_girl_in_an_Apiwtxa_village,_Acre_state,_Brazil.jpg": [
            'contradiction: the file itself says "all rights reserved", which no licence accepted on Commons does'
        ],
    }


def test_the_shipped_record_holds_no_number_to_call_and_no_address() -> None:
    for entry in json.loads(SHIPPED.read_text(encoding="utf-8"))["credits"]:
        said = " ".join([entry.get("author", ""), entry.get("credit", ""), *entry.get("notes", ())])
        assert not re.search(r"\+\d|\d{5,}|@|°", said), entry["file"]


def test_a_record_has_one_line_a_picture_in_order(tmp_path: Path) -> None:
    save_credits(credits_path(tmp_path), {"b": Credit("b", "2"), "a": Credit("a", "1")})
    lines = credits_path(tmp_path).read_text().splitlines()
    assert [json.loads(line.rstrip(","))["file"] for line in lines[1:-1]] == ["a", "b"]
