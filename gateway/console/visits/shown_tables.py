"""A table of a page as CSV, just as the page shows it. A table that may be longer than a page shows
has a sheet of its own, of what the ledger says."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from html.parser import HTMLParser

from gateway.console.drawing.figures import NOTHING
from gateway.console.visits.sheets import sheet_of
from gateway.console.visits.visit import Sheet

PARAMETER = "csv"
"""Of an address: the id of the table that is wanted."""
_DRAWN = ("form", "svg")


def shown(page: str, table: str) -> Sheet | None:
    """The table of a page that has the id ``table``; None where there is none. Instants are UTC,
    figures have no separators, and columns of nothing but buttons and bars are left out."""
    reader = _TableReader(table)
    reader.feed(page)
    if not reader.rows:
        return None
    head = reader.head or ["what", "is"]
    kept = [
        at for at, name in enumerate(head) if name and any(row[at] != "" for row in reader.rows)
    ]
    rows = [[row[at] for at in kept] for row in reader.rows]
    return sheet_of(table, [head[at] for at in kept], rows)


class _TableReader(HTMLParser):
    """Takes the cells of one table out of a page; its foot, which adds them up, is no row."""

    def __init__(self, table: str) -> None:
        super().__init__()
        self.head: list[str] = []
        self.rows: list[list[str | Decimal]] = []
        self._table = table
        self._part = ""
        self._text: list[str] | None = None
        self._is_figure = False
        self._untold = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "table" and given.get("id") == self._table:
            self._part = "table"
        elif not self._part:
            return
        elif tag in ("thead", "tbody", "tfoot"):
            self._part = tag
        elif tag == "tr" and self._part == "tbody":
            self.rows.append([])
        elif tag in ("th", "td"):
            self._text, self._is_figure = [], "n" in (given.get("class") or "").split()
        elif not self._untold:
            self._begin(tag, given)

    def _begin(self, tag: str, given: dict[str, str | None]) -> None:
        """Something within a cell."""
        if self._text is None:
            return
        if tag == "time":
            self._text.append(given.get("datetime") or "")
        if tag == "br":
            self._text.append(": ")
        if tag in (*_DRAWN, "time"):
            self._untold = tag

    def handle_endtag(self, tag: str) -> None:
        if tag == "table":
            self._part = ""
        elif tag == self._untold:
            self._untold = ""
        elif tag in ("th", "td") and self._text is not None:
            text = " ".join("".join(self._text).split())
            if self._part == "thead":
                self.head.append(text)
            elif self._part == "tbody":
                self.rows[-1].append(_figure(text) if self._is_figure else text)
            self._text = None

    def handle_data(self, data: str) -> None:
        if self._text is not None and not self._untold:
            self._text.append(data)


def _figure(text: str) -> str | Decimal:
    """As a program reads it: '−1,234.50' is -1234.50, and '–' nothing."""
    plain = "" if text == NOTHING else text.replace(",", "").replace("−", "-")
    try:
        return Decimal(plain)
    except InvalidOperation:
        return plain
