"""A report read back: its elements, numbers and links, and what is wrong with it as HTML."""

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"meta", "input", "img", "link", "br", "hr"}
LEAVES = {"path", "rect", "circle", "use"}


@dataclass
class Element:
    tag: str
    attributes: dict[str, str | None]
    inside: tuple[str, ...]
    text: str = ""


@dataclass
class Page(HTMLParser):
    """All elements in order; ``faults`` lists what contradicts the standard."""

    source: str
    elements: list[Element] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def __post_init__(self):
        super().__init__(convert_charrefs=True)
        self._open: list[Element] = []
        self.feed(self.source)
        self.close()
        self.faults += [f"<{e.tag}> is never closed" for e in self._open]
        self._check_references()

    def handle_starttag(self, tag, attrs):
        element = Element(tag, dict(attrs), tuple(e.tag for e in self._open))
        if len(attrs) != len(element.attributes):
            self.faults.append(f"<{tag}> has an attribute twice")
        self.elements.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_startendtag(self, tag, attrs):
        self.elements.append(Element(tag, dict(attrs), tuple(e.tag for e in self._open)))
        if tag not in VOID | LEAVES:
            self.faults.append(f"<{tag}/> closes itself")

    def handle_endtag(self, tag):
        if not self._open or self._open[-1].tag != tag:
            self.faults.append(f"</{tag}> closes {self._open[-1].tag if self._open else 'nothing'}")
            return
        self._open.pop()

    def handle_data(self, data):
        spoken = not {"script", "style"} & {e.tag for e in self._open}
        for element in self._open if spoken else self._open[-1:]:
            element.text += data

    def _check_references(self):
        ids = [e.attributes["id"] for e in self.elements if "id" in e.attributes]
        self.faults += [f"id {name} twice" for name in set(ids) if ids.count(name) > 1]
        for e in self.elements:
            wanted = [
                *(e.attributes.get("aria-labelledby") or "").split(),
                *(e.attributes.get("aria-describedby") or "").split(),
                *([e.attributes["for"]] if "for" in e.attributes else []),
                *(v[1:] for k, v in e.attributes.items() if k == "href" and v.startswith("#")),
                *re.findall(r"url\(#([\w-]+)\)", " ".join(v or "" for v in e.attributes.values())),
            ]
            self.faults += [f"<{e.tag}> refers to {name}" for name in wanted if name not in ids]

    def named(self, tag: str) -> list[Element]:
        return [e for e in self.elements if e.tag == tag]

    @property
    def text(self) -> str:
        return " ".join(self.named("body")[0].text.split())

    def table(self, caption: str) -> list[list[float]]:
        """Numbers of the table whose caption contains some words, row by row."""
        start = next(
            k for k, e in enumerate(self.elements) if e.tag == "caption" and caption in e.text
        )
        rows: list[list[float]] = []
        for e in self.elements[start + 1 :]:
            if e.tag == "table":
                break
            if e.tag == "tr":
                rows.append([])
            elif e.tag == "data" and "table" in e.inside:
                rows[-1].append(float(e.attributes["value"]))
        return [row for row in rows if row]


def loaded_from_elsewhere(page: Page) -> list[str]:
    """Return everything that would be loaded from outside the file."""
    found = []
    for e in page.elements:
        for name in ("src", "href", "xlink:href", "action", "poster", "srcset", "data"):
            value = e.attributes.get(name)
            if value is not None and not value.startswith(("#", "data:image/png;base64,")):
                found.append(f"<{e.tag} {name}={value}>")
        if e.tag in {"link", "iframe", "object", "embed", "base"}:
            found.append(f"<{e.tag}>")
        found += [f"{e.tag}: {k}" for k in e.attributes if k.startswith("on") or k == "style"]
    styles = " ".join(e.text for e in page.named("style"))
    found += re.findall(r"@import[^;]*|url\((?!#)[^)]*\)", styles)
    scripts = " ".join(e.text for e in page.named("script"))
    found += re.findall(r"fetch\(|XMLHttpRequest|import\(|WebSocket|https?://[^\s\"']*", scripts)
    return found
