"""A stand-in of the API of Wikimedia Commons on this machine, which answers as MediaWiki does."""

import gzip
import json
import re
import time
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Lock, Thread
from typing import Any
from urllib.parse import parse_qsl, urlsplit

Answer = tuple[int, dict[str, str], bytes]


def info(title: str, **metadata: object) -> dict[str, Any]:
    """An `imageinfo` entry of a file of 800x600 pixels, with these fields of `extmetadata`."""
    place = title.replace(" ", "_")
    return {
        "timestamp": "2010-05-06T07:08:09Z",
        "user": "Uploader",
        "sha1": f"{abs(hash(title)):040x}"[:40],
        "size": 1234,
        "width": 800,
        "height": 600,
        "mime": "image/jpeg",
        "canonicaltitle": title,
        "descriptionurl": f"https://commons.wikimedia.org/wiki/{place}",
        "extmetadata": {key: {"value": value, "source": "commons-desc-page"} for key, value in metadata.items()},
    }


@dataclass
class Wiki:
    """What the stand-in knows, how it behaves, and what it was asked."""

    address: str = ""
    pages: dict[str, dict[str, Any] | None] = field(default_factory=dict)
    """`imageinfo` by title; None: the page has no file."""
    redirects: dict[str, str] = field(default_factory=dict)
    portion: int = 0
    """Files told of in one answer, the others in continuations; 0: all."""
    troubles: list[Answer | str] = field(default_factory=list)
    """What the coming requests get instead: an answer, `slow`, `cut`, `cut gzip`, `half` (of the JSON)."""
    zipped: bool = True
    extended: bool = True
    """Whether the extension is there that reads authors and licences from the pages."""
    asked: list[dict[str, str]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    methods: list[str] = field(default_factory=list)
    most_at_once: int = 0
    done: Event = field(default_factory=Event)

    def answer(self, request: dict[str, str]) -> dict[str, Any]:
        titles = request["titles"].split("|")
        if len(titles) > 50:
            return {"error": {"code": "toomanyvalues", "info": "Too many values supplied"}}
        answer = self._images(titles, request)
        if not unicodedata.is_normalized("NFC", request["titles"]):
            answer["warnings"] = {"query": {"warnings": 'The value passed for "titles" contains non-normalized data.'}}
        return answer

    def _images(self, titles: list[str], request: dict[str, str]) -> dict[str, Any]:
        normalized, moves, pages = [], [], {}
        for asked in titles:
            title = unicodedata.normalize("NFC", asked).partition("#")[0].replace("_", " ").strip()
            if re.search(r"[<>\[\]{}\x00-\x1f]", title):
                pages[title] = {
                    "title": title,
                    "invalidreason": "The title contains invalid characters",
                    "invalid": True,
                }
                continue
            if re.match("(file|image):", title, re.IGNORECASE):
                name = title.partition(":")[2].strip()
                title = f"File:{name[:1].upper()}{name[1:]}"
            if title != asked:
                normalized.append({"fromencoded": False, "from": asked, "to": title})
            while title in self.redirects:
                moves.append({"from": title, "to": self.redirects[title]})
                title = self.redirects[title]
            pages[title] = self._page(title)
        # By page number, so neither in the order asked for nor in that of the names.
        ordered = [pages[title] for title in sorted(pages, key=lambda title: title[::-1])]
        query: dict[str, Any] = {"pages": ordered}
        query |= {"normalized": normalized} if normalized else {}
        query |= {"redirects": moves} if moves else {}
        start = int(request.get("iicontinue", "0").split("|")[0])
        end = start + (self.portion or len(ordered))
        wanted = request["iiextmetadatafilter"].split("|")
        for number, page in enumerate(ordered):
            if "imageinfo" in page:
                entry = page.pop("imageinfo")[0]
                known = entry.get("extmetadata", {}) if self.extended else {}
                kept = {key: value for key, value in known.items() if key in wanted}
                if start <= number < end:
                    page["imageinfo"] = [entry | {"extmetadata": kept}]
        more = {"continue": {"iicontinue": f"{end}|x", "continue": "||"}} if end < len(ordered) else {}
        return {**more, "query": query}

    def _page(self, title: str) -> dict[str, Any]:
        if title not in self.pages:
            return {"ns": 6 if title.startswith("File:") else 0, "title": title, "missing": True}
        entry = self.pages[title]
        page = {"pageid": len(title), "ns": 6, "title": title, "imagerepository": "local" if entry else ""}
        return page | ({"imageinfo": [dict(entry)]} if entry else {})


class Handler(BaseHTTPRequestHandler):
    wiki: Wiki
    lock: Lock
    running = 0

    def do_GET(self) -> None:
        self._serve("GET", urlsplit(self.path).query)

    def _serve(self, method: str, query: str) -> None:
        wiki, cls = self.wiki, type(self)
        with self.lock:
            cls.running += 1
            wiki.most_at_once = max(wiki.most_at_once, cls.running)
            wiki.methods.append(method)
            wiki.asked.append(dict(parse_qsl(query)))
            wiki.headers.append({key.lower(): value for key, value in self.headers.items()})
        time.sleep(0.003)  # long enough for another request to come in, if there were one
        with self.lock:
            # Counted before the answer leaves: once it has arrived the client may ask again.
            cls.running -= 1
        self._answer(wiki, wiki.troubles.pop(0) if wiki.troubles else "")

    def _answer(self, wiki: Wiki, trouble: Answer | str) -> None:
        if trouble == "slow":
            wiki.done.wait(5)
            return
        if isinstance(trouble, tuple):
            code, headers, content = trouble
        else:
            code, headers = 200, {"Content-Type": "application/json; charset=utf-8"}
            content = json.dumps(wiki.answer(wiki.asked[-1]), ensure_ascii=False).encode()
        if trouble == "half":
            content = content[: len(content) // 2]
        if wiki.zipped and "gzip" in self.headers.get("Accept-Encoding", ""):
            content = gzip.compress(content)
            headers = headers | {"Content-Encoding": "gzip"}
        if trouble == "cut gzip":
            content = content[: len(content) // 2]
        self.send_response(code)
        for name, value in (headers | {"Content-Length": str(len(content))}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content[: len(content) // 2] if trouble == "cut" else content)

    def log_message(self, *arguments: object) -> None:
        pass


@contextmanager
def running(wiki: Wiki) -> Iterator[Wiki]:
    """Serve a wiki on loopback as long as the block lasts."""
    handler = type("Answering", (Handler,), {"wiki": wiki, "lock": Lock(), "running": 0})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    wiki.address = f"http://127.0.0.1:{server.server_port}/w/api.php"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield wiki
    finally:
        wiki.done.set()
        server.shutdown()
        server.server_close()
        thread.join()
