"""The file in a form (multipart/form-data, RFC 7578), as browsers and `curl -F` send it. Held in memory, never on a disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from edgenas.serve.errors import RequestRefused

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

MOST_PARTS = 16  # a file and some fields of a form
KIND = "multipart/form-data"


def file_from_form(body: bytes, content_type: str) -> bytes:
    """The bytes of the one file in the form; other fields are ignored. RequestRefused with 400 for a form that is damaged, or
    that holds no file or several."""
    _, options = parse_options_header(content_type)
    boundary = options.get(b"boundary")
    if not boundary:
        raise RequestRefused(400, f"the body is {KIND} and its content-type names no boundary")
    form = _Form()
    try:
        parser = MultipartParser(boundary, form.callbacks())
        parser.write(body)
        parser.finalize()
    except FormParserError as error:
        raise RequestRefused(400, f"the form is damaged: {error}") from error
    if not form.whole:
        raise RequestRefused(400, "the form is cut short: its last boundary is missing")
    if len(form.files) != 1:
        found = f"{len(form.files)} files" if form.files else "no file"
        raise RequestRefused(400, f"the form holds {found}: send one (curl -F image=@image.png)")
    return bytes(form.files[0])


class _Form:
    """What the parser has found so far."""

    def __init__(self) -> None:
        self.files: list[bytearray] = []
        self.whole = False
        self._parts = 0
        self._name, self._value, self._disposition = b"", b"", b""
        self._into: bytearray | None = None

    def callbacks(self) -> MultipartCallbacks:
        return {
            "on_part_begin": self._part_begins,
            "on_header_field": self._header_field,
            "on_header_value": self._header_value,
            "on_header_end": self._header_ends,
            "on_headers_finished": self._headers_end,
            "on_part_data": self._data,
            "on_end": self._end,
        }

    def _part_begins(self) -> None:
        self._parts += 1
        if self._parts > MOST_PARTS:
            raise RequestRefused(400, f"the form has more than {MOST_PARTS} parts: send one file")
        self._disposition, self._into = b"", None

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_ends(self) -> None:
        if self._name.lower() == b"content-disposition":
            self._disposition = self._value
        self._name, self._value = b"", b""

    def _headers_end(self) -> None:
        if b"filename" in parse_options_header(self._disposition)[1]:
            self._into = bytearray()
            self.files.append(self._into)

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._into is not None:
            self._into += data[start:end]

    def _end(self) -> None:
        self.whole = True
