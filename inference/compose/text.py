"""The text that an output records, such as its job: written as XMP, and read from a file of any output format.

A PNG has iTXt chunks, as `codec.encode` writes them. All other formats have an XMP packet (ISO 16684-1): it is stored
uncompressed, and is meant to be found by searching a file for its markers. So one reader serves them all.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import quote, unquote
from xml.sax.saxutils import escape, unescape

from inference.codec import read_text as read_png_text
from inference.codec.png import SIGNATURE

TEXT_BYTES = 16_384
"""An output's text is within this many bytes from its start or from its end."""
_MAX_PACKET = TEXT_BYTES // 2
_PREFIX = "alphadrop:"
_NAMESPACE = "urn:alphadrop:output"
_BEGIN = '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
_END = '<?xpacket end="w"?>'
_KEYWORD = re.compile(r"alphadrop:[A-Za-z_][\w.-]{0,60}", re.ASCII)
_PACKET = re.compile(rb"<x:xmpmeta.*?</x:xmpmeta>", re.DOTALL)
_ATTRIBUTE = re.compile(r'\s(alphadrop:[\w.-]+)="([^"]*)"')
_UNSAFE = "".join(map(chr, range(32))) + "\x7f%"
"""What XML forbids in a text, and the sign that escapes it."""
_ENTITIES = {'"': "&quot;"}


def xmp_packet(text: Mapping[str, str]) -> bytes:
    """Write text as an XMP packet; empty if there is none.

    Raises ValueError for a keyword that is not `alphadrop:NAME`, or for text that is too long.
    """
    if not text:
        return b""
    attributes = "".join(f'\n   {_name(keyword)}="{_escaped(value)}"' for keyword, value in text.items())
    packet = (
        f'{_BEGIN}\n<x:xmpmeta xmlns:x="adobe:ns:meta/">\n'
        ' <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">\n'
        f'  <rdf:Description rdf:about="" xmlns:alphadrop="{_NAMESPACE}"{attributes}/>\n'
        f" </rdf:RDF>\n</x:xmpmeta>\n{_END}"
    ).encode()
    if len(packet) > _MAX_PACKET:
        raise ValueError(f"text takes {len(packet)} bytes as XMP, the limit is {_MAX_PACKET}; shorten it")
    return packet


def read_text(data: bytes) -> dict[str, str]:
    """Read the text of a PNG, WebP, JPEG, TIFF or AVIF that `compose` or `codec.encode` wrote, by keyword.

    The first and the last TEXT_BYTES of a file, joined, suffice. Never raises: data without such text has none.
    """
    if data.startswith(SIGNATURE):
        return read_png_text(data)
    texts: dict[str, str] = {}
    for packet in _PACKET.findall(data):
        texts |= {name: _unescaped(value) for name, value in _ATTRIBUTE.findall(packet.decode("utf-8", "replace"))}
    return texts


def _name(keyword: str) -> str:
    if not _KEYWORD.fullmatch(keyword):
        raise ValueError(f"not a keyword: {keyword!r}; write {_PREFIX}NAME with letters, digits and underscores")
    return keyword


def _escaped(value: str) -> str:
    percent = "".join(quote(character) if character in _UNSAFE else character for character in value)
    return escape(percent.encode("utf-8", "replace").decode(), _ENTITIES)


def _unescaped(value: str) -> str:
    return unquote(unescape(value, {entity: character for character, entity in _ENTITIES.items()}))
