import jinja2
import pytest

from fer.utils import html


def test_values_are_escaped_in_pages_and_absent_ones_refused(tmp_path, monkeypatch) -> None:
    (tmp_path / "page.html").write_text("<p>{{ text }}</p>")
    (tmp_path / "page.md").write_text("{{ text }}\n")
    monkeypatch.setattr(html, "TEMPLATES", tmp_path)
    html._environment.cache_clear()
    try:
        assert html.render("page.html", text="<b> & 'x'") == "<p>&lt;b&gt; &amp; &#39;x&#39;</p>"
        assert html.render("page.md", text="<b>") == "<b>\n"
        with pytest.raises(jinja2.UndefinedError):
            html.render("page.html")
    finally:
        html._environment.cache_clear()
