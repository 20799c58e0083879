"""Parse HTML."""

from __future__ import annotations

from html.parser import HTMLParser

VOID = {"meta", "br", "link", "img"}


class HtmlChecker(HTMLParser):
    """Checks that elements open and close in order, and collects their text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def parsed(html: str) -> HtmlChecker:
    parser = HtmlChecker()
    parser.feed(html)
    parser.close()
    assert parser.open == []
    return parser


def check_alone(html: str) -> None:
    """Check that a page loads nothing from elsewhere."""
    for tag, attributes in parsed(html).seen:
        assert tag not in ("link", "img", "iframe", "object", "base", "form")
        assert "src" not in attributes
        assert (attributes.get("href") or "#").startswith("#")
    style = html[html.index("<style>") : html.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style
