"""HTML that an object is shown as, taken apart; and a name that would be markup if it were not escaped."""

from html.parser import HTMLParser

HOSTILE = '<img src=x onerror="alert(1)"><script>\'&amp;\u202e\n'


class Page(HTMLParser):
    """HTML taken apart: its tags, their attributes, its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep a tag."""
        self.tags.add(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        """Keep text, but that of a style sheet."""
        if self.lasttag != "style" or not data.startswith(".walrus-ts"):
            self.text += data + " "
