from collections.abc import Iterator
from dataclasses import replace

import pytest

from fer.data.commons import Commons
from fer.data.credits import API, EMBEDDED, Credit
from fer.data.lookup import look_up, unlooked
from fer.data.wikimedia_files import ListedFile, listed_files
from tests.data.mediawiki import Wiki, info, running

DAY = "2026-11-24"
FREE = {
    "Artist": "Ann",
    "LicenseShortName": "CC BY-SA 3.0",
    "LicenseUrl": "https://creativecommons.org/licenses/by-sa/3.0",
}


@pytest.fixture
def wiki(monkeypatch: pytest.MonkeyPatch) -> Iterator[Wiki]:
    monkeypatch.setenv("no_proxy", "*")
    with running(Wiki()) as started:
        yield started


def listed(**facts: object) -> ListedFile:
    return replace(ListedFile("6/Face.jpg", "", "ab" * 32, 200, 224, "File:Face.jpg"), **facts)


def asked(wiki: Wiki, item: ListedFile, known: Credit | None = None) -> Credit:
    known_by_file = {item.file: known} if known else {}
    (credit,) = look_up(Commons("c", wiki.address), [item], known_by_file, DAY).values()
    return credit


def test_a_credit_holds_all_that_commons_says(wiki: Wiki) -> None:
    wiki.pages["File:Face.jpg"] = info(
        "File:Face.jpg", **FREE, Credit='<span class="int-own-work">Own work</span>', Restrictions="personality",
    ) | {"sha1": "c0ffee"}  # fmt: skip
    assert asked(wiki, listed()) == Credit(
        file="6/Face.jpg", pixels="ab" * 32, title="File:Face.jpg", author="Ann", licence="CC BY-SA 3.0",
        page="https://commons.wikimedia.org/wiki/File:Face.jpg", credit="Own work", restrictions="personality",
        licence_url="https://creativecommons.org/licenses/by-sa/3.0", uploader="Uploader", sha1="c0ffee",
        revised="2010-05-06T07:08:09Z", looked_up=DAY, source=API, changes="cropped and resized", notes=(),
    )  # fmt: skip


def test_the_licensors_own_words_come_before_the_artist(wiki: Wiki) -> None:
    wiki.pages["File:Face.jpg"] = info("File:Face.jpg", **FREE, Attribution="Ann A. / <b>Agency</b>")
    assert asked(wiki, listed()).author == "Ann A. / Agency"


def test_the_uploader_is_not_taken_for_the_author(wiki: Wiki) -> None:
    wiki.pages["File:Face.jpg"] = info("File:Face.jpg", LicenseShortName="CC0")
    credit = asked(wiki, listed())
    assert (credit.author, credit.uploader, credit.resolved) == ("", "Uploader", False)
    assert "Commons names no author" in credit.notes


@pytest.mark.parametrize(
    "absent", [*FREE, "extmetadata", "timestamp", "user", "sha1", "canonicaltitle", "descriptionurl"]
)
def test_any_field_may_be_absent(wiki: Wiki, absent: str) -> None:
    entry = info("File:Face.jpg", **{key: value for key, value in FREE.items() if key != absent})
    entry.pop(absent, None)
    wiki.pages["File:Face.jpg"] = entry
    credit = asked(wiki, listed())
    assert credit.resolved == (absent not in ("Artist", "LicenseShortName", "extmetadata"))
    assert (credit.title, credit.page) == ("File:Face.jpg", "https://commons.wikimedia.org/wiki/File:Face.jpg")


def test_fields_of_odd_types_are_as_absent(wiki: Wiki) -> None:
    wiki.pages["File:Face.jpg"] = info("File:Face.jpg", **FREE, Attribution=3.5, Credit={"en": "x"})
    assert (asked(wiki, listed()).author, asked(wiki, listed()).credit) == ("Ann", "")


def test_usage_terms_stand_in_for_a_licences_short_name(wiki: Wiki) -> None:
    wiki.pages["File:Face.jpg"] = info("File:Face.jpg", Artist="Ann", UsageTerms="Public domain")
    assert asked(wiki, listed()).licence == "Public domain"


def test_markup_of_strangers_does_not_survive(wiki: Wiki) -> None:
    evil = "Ann<script>alert(1)</script>&lt;script&gt;alert(2)&lt;/script&gt;"
    wiki.pages["File:Face.jpg"] = info(
        "File:Face.jpg", Artist=evil, LicenseShortName=evil, Credit=evil, Restrictions=evil,
        LicenseUrl="javascript:alert(1)",
    ) | {"user": "U\u202eploader", "descriptionurl": "javascript:alert(1)"}  # fmt: skip
    credit = asked(wiki, listed())
    assert (credit.author, credit.licence, credit.credit, credit.restrictions) == ("Ann",) * 4
    assert (credit.licence_url, credit.page) == ("", "https://commons.wikimedia.org/wiki/File:Face.jpg")
    assert credit.uploader == "Uploader"


def test_a_contact_in_a_credit_is_left_out_and_that_is_said(wiki: Wiki) -> None:
    wiki.pages["File:Face.jpg"] = info("File:Face.jpg", **FREE | {"Artist": "Ann, +1 202 555 0143, a@mail.example.org"})
    credit = asked(wiki, listed())
    assert credit.author == "Ann"
    assert any("was left out" in note for note in credit.notes)


def test_a_renamed_title_is_followed_and_said(wiki: Wiki) -> None:
    wiki.redirects["File:Face.jpg"] = "File:Better name.jpg"
    wiki.pages["File:Better name.jpg"] = info("File:Better name.jpg", **FREE)
    credit = asked(wiki, listed())
    assert (credit.title, credit.resolved) == ("File:Better name.jpg", True)
    assert credit.notes == ("renamed on Commons: was File:Face.jpg",)


@pytest.mark.parametrize("where", ["sources", "named"])
@pytest.mark.parametrize("title", ["File:Face.jpg", ""])
def test_a_flickr_number_finds_what_the_title_does_not(wiki: Wiki, where: str, title: str) -> None:
    wiki.pages["File:Elsewhere.jpg"] = info("File:Elsewhere.jpg", **FREE)
    getattr(wiki, where)["4746058508"] = ["File:Elsewhere.jpg"]
    credit = asked(wiki, listed(title=title, flickr_id="4746058508"))
    assert (credit.title, credit.resolved) == ("File:Elsewhere.jpg", True)
    assert credit.notes[0].startswith("found on Commons by Flickr number 4746058508")


def test_a_flickr_number_of_several_files_decides_nothing(wiki: Wiki) -> None:
    wiki.pages = {title: info(title, **FREE) for title in ("File:A.jpg", "File:B.jpg")}
    wiki.sources["4746058508"] = ["File:A.jpg", "File:B.jpg"]
    credit = asked(wiki, listed(flickr_id="4746058508"))
    assert not credit.resolved
    assert "several files on Commons have Flickr number 4746058508: File:A.jpg, File:B.jpg" in credit.notes


def test_the_originals_sha1_finds_a_file_that_moved_since_an_earlier_look_up(wiki: Wiki) -> None:
    wiki.pages["File:Face.jpg"] = info("File:Face.jpg", **FREE)
    before = asked(wiki, listed())
    wiki.pages = {"File:Moved.jpg": wiki.pages["File:Face.jpg"] | {"canonicaltitle": "File:Moved.jpg"}}
    credit = asked(wiki, listed(), before)
    assert (credit.title, credit.resolved) == ("File:Moved.jpg", True)
    assert credit.notes == (f"found on Commons by sha1 {before.sha1}, not as File:Face.jpg",)


def test_what_is_not_found_keeps_its_page_to_visit_and_what_its_file_says(wiki: Wiki) -> None:
    credit = asked(wiki, listed(author="Ann", claims="all rights reserved"))
    assert not credit.resolved
    assert (credit.author, credit.source, credit.looked_up) == ("Ann", EMBEDDED, DAY)
    assert credit.page == "https://commons.wikimedia.org/wiki/File:Face.jpg"
    assert credit.notes == (
        'contradiction: the file itself says "all rights reserved", which no licence accepted on Commons does',
        "Commons has no such page",
    )


def test_a_picture_without_a_title_has_a_search_to_visit() -> None:
    page = unlooked(listed(title="", flickr_id="2301224820")).page
    assert page == "https://commons.wikimedia.org/w/index.php?ns6=1&search=2301224820"


def test_a_title_found_by_hand_is_kept_and_asked_for(wiki: Wiki) -> None:
    by_hand = replace(unlooked(listed()), title="File:By hand.jpg")
    assert asked(wiki, listed(), by_hand).title == "File:By hand.jpg"
    wiki.pages["File:By hand.jpg"] = info("File:By hand.jpg", **FREE)
    assert asked(wiki, listed(), by_hand).resolved


def test_what_commons_no_longer_has_keeps_its_earlier_credit(wiki: Wiki) -> None:
    wiki.pages["File:Face.jpg"] = info("File:Face.jpg", **FREE)
    before = replace(asked(wiki, listed()), looked_up="2026-01-02")
    wiki.pages.clear()
    once = asked(wiki, listed(), before)
    assert once == replace(before, notes=(f"no longer found on Commons on {DAY}",))
    assert asked(wiki, listed(), once) == once


def test_a_file_smaller_than_the_crop_is_not_its_original(wiki: Wiki) -> None:
    wiki.pages["File:Face.jpg"] = info("File:Face.jpg", **FREE) | {"width": 199}
    credit = asked(wiki, listed())
    assert not credit.resolved
    assert credit.notes == ("File:Face.jpg cannot be the original: it has 199x600 pixels, smaller than the crop",)


def test_a_file_changed_after_2021_and_since_the_last_look_up_is_doubted(wiki: Wiki) -> None:
    wiki.pages["File:Face.jpg"] = info("File:Face.jpg", **FREE)
    before = asked(wiki, listed())
    wiki.pages["File:Face.jpg"] |= {"timestamp": "2024-01-01T00:00:00Z", "sha1": "0"}
    assert asked(wiki, listed(), before).notes == (
        "changed on Commons since 2021-09-13: compare the picture on its page",
        f"changed on Commons since the look-up of {DAY}",
    )


@pytest.mark.parametrize(
    ("claims", "licence", "contradicting"),
    [
        ("all rights reserved", "CC BY 2.0", True),
        ("CC BY-NC 3.0", "CC BY 3.0", True),
        ("non-commercial", "CC BY-SA 4.0", True),
        ("CC BY-SA 3.0", "CC BY-SA 3.0", False),
        ("CC BY-SA 3.0", "CC BY-SA 4.0", True),
        ("CC0", "CC0", False),
        ("CC0", "CC BY 2.0", True),
        ("public domain", "Public domain", False),
        ("public domain", "CC BY 2.0", True),
        ("some rights reserved", "CC BY 2.0", False),
        ("copyright claimed", "Public domain", True),
    ],
)
def test_a_files_claims_are_held_against_its_licence(
    wiki: Wiki, claims: str, licence: str, contradicting: bool
) -> None:
    wiki.pages["File:Face.jpg"] = info("File:Face.jpg", **FREE | {"LicenseShortName": licence})
    credit = asked(wiki, listed(claims=claims))
    expected = (f'contradiction: the file itself says "{claims}", Commons "{licence}"',) if contradicting else ()
    assert credit.notes == expected
    assert credit.licence == licence


@pytest.mark.parametrize(
    ("author", "same"), [("Ann Bell", True), ("Ann", True), ("Photographer BELL", True), ("Cy", False)]
)
def test_another_author_inside_the_file_is_shown(wiki: Wiki, author: str, same: bool) -> None:
    wiki.pages["File:Face.jpg"] = info("File:Face.jpg", **FREE | {"Artist": author})
    notes = asked(wiki, listed(author="Ann Bell Photography")).notes
    assert (notes == ()) is same
    if not same:
        assert notes == ('contradiction: the file itself names "Ann Bell Photography" as its author, Commons "Cy"',)


def test_all_84_are_accounted_for(wiki: Wiki) -> None:
    there = [item for item in listed_files() if item.title][::2]
    wiki.pages = {item.title: info(item.title, **FREE | {"Artist": f"Author of {item.file}"}) for item in there}
    credits = look_up(Commons("c", wiki.address), listed_files(), {}, DAY)
    assert list(credits) == [item.file for item in listed_files()]
    assert {name for name, credit in credits.items() if credit.resolved} == {item.file for item in there}
    assert all(credits[item.file].author == f"Author of {item.file}" for item in there)
    assert all(credit.page.startswith("https://commons.wikimedia.org/w") for credit in credits.values())
    assert [request["titles"].count("|") + 1 for request in wiki.asked if "titles" in request] == [50, 32]
