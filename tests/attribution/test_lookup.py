import json
from collections.abc import Iterator
from dataclasses import replace

import pytest

from fer.attribution import commons
from fer.attribution.commons import Commons
from fer.attribution.credits import API, EMBEDDED, Credit
from fer.attribution.lookup import KEPT, initial_credit, look_up
from fer.data.datasets.wikimedia import ListedFile, listed_files
from tests.attribution.mediawiki import Wiki, info, running

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
        monkeypatch.setattr(commons, "API_URL", started.address)
        yield started


def listed(**facts: object) -> ListedFile:
    return replace(ListedFile("6/Face.jpg", "", "ab" * 32, 200, 224, "File:Face.jpg"), **facts)


def asked(wiki: Wiki, item: ListedFile, known: Credit | None = None, by_hand: str = "", day: str = DAY) -> Credit:
    known_by_file = {item.file: known} if known else {}
    entered = {item.file: by_hand} if by_hand else {}
    (credit,) = look_up(Commons("c"), [item], known_by_file, day, entered).values()
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


def test_a_contact_in_a_credit_is_left_out(wiki: Wiki) -> None:
    wiki.pages["File:Face.jpg"] = info("File:Face.jpg", **FREE | {"Artist": "Ann, +1 202 555 0143, a@mail.example.org"})
    assert asked(wiki, listed()).author == "Ann"


def test_a_renamed_title_is_followed(wiki: Wiki) -> None:
    wiki.redirects["File:Face.jpg"] = "File:Better name.jpg"
    wiki.pages["File:Better name.jpg"] = info("File:Better name.jpg", **FREE)
    credit = asked(wiki, listed())
    assert (credit.title, credit.resolved) == ("File:Better name.jpg", True)


def test_where_a_title_leads_nowhere_a_flickr_number_gives_the_search_to_visit(wiki: Wiki) -> None:
    search = "https://commons.wikimedia.org/w/index.php?ns6=1&search=4746058508"
    for title in ("File:Face.jpg", ""):
        credit = asked(wiki, listed(title=title, flickr_id="4746058508"))
        assert (credit.title, credit.page, credit.resolved) == (title, search, False)


def test_a_title_in_doubt_is_not_resolved_until_a_person_confirms_it(wiki: Wiki) -> None:
    wiki.pages["File:Face.jpg"] = info("File:Face.jpg", **FREE)
    item = listed(doubt="the title is a common word")
    credit = asked(wiki, item)
    assert (credit.author, credit.resolved) == ("Ann", False)
    assert credit.notes == ("in doubt: the title is a common word: compare the picture on its page",)
    confirmed = asked(wiki, item, credit, by_hand="Face.jpg")
    assert confirmed.resolved
    assert confirmed.notes == ("title entered by hand as File:Face.jpg",)
    assert asked(wiki, item, confirmed, by_hand="Face.jpg") == confirmed
    assert not asked(wiki, item, confirmed).resolved


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
    page = initial_credit(listed(title="", flickr_id="2301224820")).page
    assert page == "https://commons.wikimedia.org/w/index.php?ns6=1&search=2301224820"


@pytest.mark.parametrize(
    "typed",
    ["By hand.jpg", "By_hand.jpg", "file:by hand.jpg", "https://commons.wikimedia.org/wiki/File:By_hand.jpg?x=1"],
)
def test_a_title_in_the_record_needs_no_namespace(wiki: Wiki, typed: str) -> None:
    wiki.pages["File:By hand.jpg"] = info("File:By hand.jpg", **FREE)
    credit = asked(wiki, listed(), replace(initial_credit(listed()), title=typed))
    assert (credit.title, credit.resolved) == ("File:By hand.jpg", True)


def test_letters_with_accents_apart_do_not_stop_the_look_up(wiki: Wiki) -> None:
    wiki.pages["File:V\u00e9lib.jpg"] = info("File:V\u00e9lib.jpg", **FREE)
    assert asked(wiki, listed(title="File:Ve\u0301lib.jpg")).resolved


def test_a_title_by_hand_that_leads_elsewhere_replaces_what_was_known(wiki: Wiki) -> None:
    wiki.pages["File:Face.jpg"] = info("File:Face.jpg", **FREE) | {"sha1": "a" * 40}
    wiki.pages["File:Right.jpg"] = info("File:Right.jpg", Artist="Bob")
    before = asked(wiki, listed())
    credit = asked(wiki, listed(), before, by_hand="Right.jpg")
    assert (credit.title, credit.author, credit.licence, credit.resolved) == ("File:Right.jpg", "Bob", "", False)
    assert asked(wiki, listed(), credit, by_hand="Right.jpg") == credit


def test_a_mistyped_title_loses_nothing(wiki: Wiki) -> None:
    wiki.pages["File:Face.jpg"] = info("File:Face.jpg", **FREE) | {"sha1": ""}
    before = asked(wiki, listed())
    credit = asked(wiki, listed(), before, by_hand="Fcae.jpg")
    assert (credit.author, credit.title, credit.resolved) == ("Ann", "File:Face.jpg", True)
    assert credit.notes == (
        f"kept from the look-up of {DAY}: File:Fcae.jpg, the title entered by hand: Commons has no such page ({DAY})",
    )
    assert asked(wiki, listed(), credit) == before


@pytest.mark.parametrize("lost", ["Artist", "LicenseShortName", "both", "extended metadata"])
def test_a_page_that_no_longer_names_author_or_licence_does_not_wipe_the_earlier_credit(wiki: Wiki, lost: str) -> None:
    wiki.pages["File:Face.jpg"] = info("File:Face.jpg", **FREE)
    before = asked(wiki, listed(claims="all rights reserved"), day="2026-01-02")
    kept = {name: text for name, text in FREE.items() if name != lost and lost != "both"}
    wiki.pages["File:Face.jpg"] = info("File:Face.jpg", **kept)
    wiki.extended = lost != "extended metadata"
    credit = asked(wiki, listed(claims="all rights reserved"), before)
    assert (credit.author, credit.licence, credit.licence_url) == ("Ann", "CC BY-SA 3.0", FREE["LicenseUrl"])
    assert (credit.resolved, credit.looked_up) == (True, "2026-01-02")
    named = {"Artist": "no author", "LicenseShortName": "no licence"}.get(lost, "no author and no licence")
    assert credit.notes == (
        f"kept from the look-up of 2026-01-02: Commons names {named} any more ({DAY})",
        'contradiction: the file itself says "all rights reserved", Commons "CC BY-SA 3.0"',
    )
    assert asked(wiki, listed(claims="all rights reserved"), credit) == credit
    wiki.pages["File:Face.jpg"] = info("File:Face.jpg", **FREE)
    wiki.extended = True
    assert asked(wiki, listed(), credit).notes == ()


def test_an_author_without_a_licence_is_not_wiped_either(wiki: Wiki) -> None:
    wiki.pages["File:Face.jpg"] = info("File:Face.jpg", Artist="Ann")
    before = asked(wiki, listed())
    wiki.pages["File:Face.jpg"] = info("File:Face.jpg", LicenseShortName="CC0")
    credit = asked(wiki, listed(), before)
    assert (credit.author, credit.resolved) == ("Ann", False)
    assert credit.notes[0].startswith(KEPT)


def test_another_author_and_licence_replace_the_earlier_ones(wiki: Wiki) -> None:
    wiki.pages["File:Face.jpg"] = info("File:Face.jpg", **FREE) | {"sha1": "a" * 40}
    first = asked(wiki, listed(), day="2026-01-01")
    wiki.pages["File:Face.jpg"] = info("File:Face.jpg", Artist="Bob", LicenseShortName="CC0") | {"sha1": "b" * 40}
    second = asked(wiki, listed(), first, day="2026-02-02")
    assert (second.author, second.licence, second.licence_url, second.notes) == ("Bob", "CC0", "", ())


def test_what_the_file_says_stays_where_commons_names_neither_author_nor_licence(wiki: Wiki) -> None:
    wiki.pages["File:Face.jpg"] = info("File:Face.jpg")
    assert asked(wiki, listed(author="Cy", claims="all rights reserved; copyright claimed")).notes == (
        'contradiction: the file itself says "all rights reserved", which no licence accepted on Commons does',
        'the file itself says "copyright claimed"',
        'the file itself names "Cy" as its author',
        "Commons names no author",
        "Commons names no licence",
    )


@pytest.mark.parametrize(
    ("artist", "author"),
    [
        ("@", ""),
        ("( )", ""),
        ("Jane Roe (jane@example.org)", "Jane Roe"),
        ("<ul><li>Ann</li><li>Bob</li></ul>", "Ann; Bob"),
        ("Ann<br>Bob", "Ann; Bob"),
        ('<a href="/a">Ann</a> <a href="/b">Bob</a>', "Ann; Bob"),
    ],
)
def test_an_author_is_a_name_and_several_stay_apart(wiki: Wiki, artist: str, author: str) -> None:
    wiki.pages["File:Face.jpg"] = info("File:Face.jpg", **FREE | {"Artist": artist})
    credit = asked(wiki, listed())
    assert (credit.author, credit.resolved) == (author, bool(author))


def test_an_empty_attribution_gives_way_to_the_artist(wiki: Wiki) -> None:
    wiki.pages["File:Face.jpg"] = info("File:Face.jpg", **FREE, Attribution="<i>-</i>")
    assert asked(wiki, listed()).author == "Ann"


@pytest.mark.parametrize(
    ("field", "value", "note"),
    [
        ("DeletionReason", "No <b>permission</b>", 'in doubt: Commons may delete the file: "No permission"'),
        ("NonFree", "true", "in doubt: Commons marks the file as not free"),
        ("NonFree", True, "in doubt: Commons marks the file as not free"),
        ("NonFree", "1", "in doubt: Commons marks the file as not free"),
    ],
)
@pytest.mark.parametrize("lost", ["", "Artist"])
def test_a_file_to_be_deleted_or_not_free_is_not_resolved(
    wiki: Wiki, field: str, value: object, note: str, lost: str
) -> None:
    wiki.pages["File:Face.jpg"] = info("File:Face.jpg", **FREE)
    before = asked(wiki, listed())
    wiki.pages["File:Face.jpg"] = info("File:Face.jpg", **FREE | {field: value} | ({lost: ""} if lost else {}))
    credit = asked(wiki, listed(), before)
    assert (credit.author, credit.licence, credit.resolved) == ("Ann", "CC BY-SA 3.0", False)
    assert credit.notes[0].startswith(KEPT) is bool(lost)
    assert note in credit.notes


@pytest.mark.parametrize("deleted", [True, False])
def test_a_doubt_about_the_licence_outlives_the_page_that_raised_it(wiki: Wiki, deleted: bool) -> None:
    wiki.pages["File:Face.jpg"] = info("File:Face.jpg", **FREE, NonFree="true", DeletionReason="Copied")
    before = asked(wiki, listed())
    wiki.pages = {} if deleted else {"File:Face.jpg": info("File:Face.jpg")}
    credit = asked(wiki, listed(), before)
    assert not credit.resolved
    assert credit.notes[0].startswith(KEPT)
    assert credit.notes[1:] == before.notes
    assert asked(wiki, listed(), credit) == credit
    wiki.pages = {"File:Face.jpg": info("File:Face.jpg", **FREE)}
    assert asked(wiki, listed(), credit).resolved


@pytest.mark.parametrize(("field", "value"), [("NonFree", "false"), ("NonFree", ""), ("DeletionReason", "")])
def test_a_file_said_to_be_free_is_resolved(wiki: Wiki, field: str, value: str) -> None:
    wiki.pages["File:Face.jpg"] = info("File:Face.jpg", **FREE, **{field: value})
    assert asked(wiki, listed()).resolved


@pytest.mark.parametrize("odd", [[], None])
def test_extended_metadata_may_be_empty(wiki: Wiki, odd: object) -> None:
    answer = {
        "query": {"pages": [{"title": "File:Face.jpg", "imageinfo": [info("File:Face.jpg") | {"extmetadata": odd}]}]}
    }
    wiki.troubles = [(200, {}, json.dumps(answer).encode())]
    assert "Commons names no author" in asked(wiki, listed()).notes


def test_what_commons_no_longer_has_keeps_its_earlier_credit(wiki: Wiki) -> None:
    wiki.pages["File:Face.jpg"] = info("File:Face.jpg", **FREE)
    before = replace(asked(wiki, listed()), looked_up="2026-01-02")
    wiki.pages.clear()
    once = asked(wiki, listed(), before)
    assert once == replace(before, notes=(f"kept from the look-up of 2026-01-02: Commons has no such page ({DAY})",))
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
    credit = asked(wiki, listed(), before)
    assert credit.notes == ("changed on Commons since 2021-09-13: compare the picture on its page",)


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
    credits = look_up(Commons("c"), listed_files(), {}, DAY, {})
    assert list(credits) == [item.file for item in listed_files()]
    sure = {item.file for item in there if not item.doubt}
    assert {name for name, credit in credits.items() if credit.resolved} == sure
    assert len(sure) == 35
    assert all(credits[item.file].author == f"Author of {item.file}" for item in there)
    assert all(credit.page.startswith("https://commons.wikimedia.org/w") for credit in credits.values())
    assert [request["titles"].count("|") + 1 for request in wiki.asked if "titles" in request] == [50, 32]
