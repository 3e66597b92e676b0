"""Text, ids and moments as every engine can hold them, and back.

Half a surrogate pair is text in Python and JSON but not in UTF-8, and PostgreSQL has no NUL: such text is kept as the
JSON of it, which is ASCII.
"""

from __future__ import annotations

import hashlib
import json
import re
from datetime import datetime, timedelta, timezone

_ODD = re.compile("[\x00\ud800-\udfff]")
_ESCAPE = "\x01"
_CANONICAL = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}").fullmatch
_HEX = re.compile(r"(?:[0-9a-f]{2}){1,16}").fullmatch

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
#: Moments count from here: those of 2023 to 2032 take six bytes in a file of SQLite, and eight from 1970.
ORIGIN = datetime(2028, 1, 1, tzinfo=timezone.utc)
_MICROSECOND = timedelta(microseconds=1)

#: Longest id, in bytes, that is its own key; of a longer one the digest is.
_LONGEST_ID = 200


def is_sound(text: str) -> bool:
    """Every engine can hold *text* as it is."""
    return _ODD.search(text) is None


def to_column(text: str) -> str:
    """*text* as a column can hold it."""
    if is_sound(text) and not text.startswith(_ESCAPE):
        return text
    return _ESCAPE + json.dumps(text)


def from_column(value: str) -> str:
    """The text behind `to_column`."""
    if not value.startswith(_ESCAPE):
        return value
    text: str = json.loads(value[1:])
    return text


def digest_of(kind: int, value: str) -> int:
    """64 bits of *kind* and *value*, signed as columns are."""
    text = f"{kind}:{value}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big", signed=True)


def id_to_bytes(event_id: str) -> tuple[bytes, bool]:
    """The key of an event, and whether it is the whole id: 16 bytes for a UUID as `uuid` writes it.

    Other ids begin with a byte that UTF-8 has not, and are never 16 bytes long.
    """
    if len(event_id) == 36 and _CANONICAL(event_id):
        return bytes.fromhex(event_id.replace("-", "")), True
    text = event_id.encode("utf-8", "surrogatepass")
    if len(text) > _LONGEST_ID:
        return b"\xfe" + hashlib.sha256(text).digest(), False
    return (b"\xff" if len(text) != 15 else b"\xff\xff") + text, True


def id_from_bytes(key: bytes) -> str:
    """The id behind a whole key of `id_to_bytes`."""
    if len(key) == 16:
        digits = bytes(key).hex()  # as `uuid` writes it, in a tenth of its time
        return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
    return bytes(key).lstrip(b"\xff").decode("utf-8", "surrogatepass")


def hex_to_bytes(text: object) -> bytes | None:
    """The bytes that *text* writes in hexadecimal; None where it does not, or not as `bytes.hex` would."""
    return bytes.fromhex(text) if isinstance(text, str) and _HEX(text) else None


def text_to_bytes(text: str) -> bytes:
    """A key for any other *text*, never that of hexadecimal digits."""
    found = text.encode("utf-8", "surrogatepass")
    return b"\xff" * 17 + (found if len(found) <= _LONGEST_ID else hashlib.sha256(found).digest())


def to_microseconds(moment: datetime) -> int:
    """Microseconds since `ORIGIN`, mostly negative, of an aware *moment*."""
    return (moment - ORIGIN) // _MICROSECOND


def from_microseconds(microseconds: int) -> datetime:
    """The moment behind `to_microseconds`."""
    return ORIGIN + microseconds * _MICROSECOND
