"""Check a built site: every link inside it leads somewhere, and no page fetches anything."""

import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# What a browser fetches to show a page, by element and attribute.
FETCHED = {
    ("audio", "src"), ("embed", "src"), ("iframe", "src"), ("img", "src"), ("img", "srcset"),
    ("link", "href"), ("object", "data"), ("script", "src"), ("source", "src"),
    ("source", "srcset"), ("video", "src"), ("video", "poster"), ("image", "href"),
}  # fmt: skip
# Links that only say something about a page.
TOLD = {"canonical", "next", "prev", "search", "index", "author", "copyright"}
IN_STYLES = re.compile(r"""(?:@import\s*(?:url\()?|url\()\s*["']?([^"')\s]+)""")


class Page(HTMLParser):
    """The places that a page has, the links it shows, and what it fetches."""

    def __init__(self, path):
        super().__init__()
        self.places, self.links, self.fetched = set(), [], []
        self.in_style = False
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.in_style = tag == "style"
        self.places |= {attributes.get("id"), attributes.get("name")}
        told = TOLD & set((attributes.get("rel") or "").split())
        for name, value in attributes.items():
            if (tag, name) in FETCHED and not told:
                parts = value.split(",") if name == "srcset" else [value]
                self.fetched += [part.split()[0] for part in parts if part.strip()]
            elif name == "href" and not told:
                self.links.append(value)
            elif name == "style":
                self.fetched += IN_STYLES.findall(value or "")

    def handle_data(self, data):
        if self.in_style:
            self.fetched += IN_STYLES.findall(data)


def problems(site):
    """One line for each link that leads nowhere and each thing fetched from elsewhere."""
    paths = [path for path in sorted(site.rglob("*.html")) if "_static" not in path.parts]
    pages = {path: Page(path) for path in paths}
    for path, page in pages.items():
        for link in page.links + page.fetched:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                if link in page.fetched and parts.scheme != "data":
                    yield f"{path}: fetches {link}"
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.is_file():
                yield f"{path}: no such file: {link}"
            elif target.suffix == ".html" and parts.fragment and ":~:" not in parts.fragment:
                if unquote(parts.fragment) not in pages[target].places:
                    yield f"{path}: no such place: {link}"
    for path in sorted(site.rglob("*.css")):
        for link in IN_STYLES.findall(path.read_text(encoding="utf-8")):
            parts = urlsplit(link)
            if parts.scheme in ("http", "https") or parts.netloc:
                yield f"{path}: fetches {link}"
            elif not parts.scheme and not (path.parent / unquote(parts.path)).is_file():
                yield f"{path}: no such file: {link}"


def main():
    site = Path(sys.argv[1]).resolve()
    n_pages = len(list(site.rglob("*.html")))
    found = list(problems(site))
    print(*found, f"{n_pages} pages, {len(found)} broken links or fetches", sep="\n")
    return bool(found) or not n_pages


if __name__ == "__main__":
    sys.exit(main())
