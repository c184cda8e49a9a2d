"""Pages as tests read them, and texts that try to become part of one."""

from html.parser import HTMLParser

HOSTILE = {
    "script": "<script>alert(1)</script>Eve",
    "escaped script": "&lt;script&gt;alert(1)&lt;/script&gt;Eve",
    "twice escaped script": "&amp;lt;script&amp;gt;alert(1)&amp;lt;/script&amp;gt;Eve",
    "unfinished script": "Eve<script src=//evil.example/x.js",
    "handler": "<img src=x onerror=alert(1)>Eve",
    "attribute": '"\' onmouseover=alert(1) x="Eve',
    "javascript link": '<a href="javascript:alert(1)">Eve</a>',
    "data link": '<a href="data:text/html,<script>alert(1)</script>">Eve</a>',
    "bare javascript": "javascript:alert(1)//Eve",
    "split javascript": "java\nscript:alert(1)//Eve",
    "bare data": "data:text/html,Eve",
    "end of table": "</td></tr></table></body><h1>Eve",
    "comment": "Eve <!-- x",
    "markdown": "| [Eve](javascript:alert(1)) ![x](http://evil.example/x.png) `code` <b>**bold**</b> #x",
    "markdown escapes": "\\| \\[Eve](data:x) \\\\`",
    "address": "https://evil.example/Eve and www.evil.example, ftp://evil.example",
    "formula": '=HYPERLINK("http://evil.example","Eve")',
    "plus": "+1+cmd|' /C calc'!A0 Eve",
    "minus": "-2+3 Eve",
    "at": "@SUM(1+1) Eve",
    "tab": "\t=1+1 Eve",
    "return": "\r\n=1+1 Eve",
    "bibtex": "}} } {{ Eve, @misc{stolen, title = {x}} \\input{/etc/passwd} $x^2$ 100% #1 & ~_",
    "one brace": "Eve }",
    "control": "E\x00v\x1be \u202eevE\u202c \ud800",
}


class Page(HTMLParser):
    """A page's elements and attributes; fails on any that is not closed, or closed twice."""

    def __init__(self, content):
        super().__init__(convert_charrefs=True)
        self.open, self.tags, self.links, self.attributes, self.texts = [], [], [], [], []
        self.feed(content)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]
        self.links += [value for name, value in attrs if name in ("href", "src")]
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)

    @property
    def text(self):
        return "".join(self.texts)
