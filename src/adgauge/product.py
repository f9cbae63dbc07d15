"""A product as publishers send it: the Amazon Reviews 2023 item schema as it really occurs.

Only the id decides whether a record is a product. Every other field may be missing, null or of another
kind than documented; what cannot be understood is empty, never an error.
"""

from __future__ import annotations

import ast
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from typing_extensions import TypedDict

from adgauge.errors import RecordRejected, RejectReason

ID_BYTES = 256
"""An id is a printable string of at most this many bytes in UTF-8."""

_DEPTH = 4  # lists in lists: `categories` occurs nested once; deeper nesting carries no text
_LITERAL_CHARS = 1 << 16
_PRICE_LIMIT = 1e9
_PICTURES = 256  # more than any real product has; hostile records have as many as bytes
_SURROGATE = re.compile("[\ud800-\udfff]")
_PRICE = re.compile(r"(?<![\d.,-])(?:\d{1,3}(?:,\d{3})+|\d{1,12})(?:\.\d{1,9})?(?![.,]?\d)", re.ASCII)
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])|[_\W]+")
_RATING_KEY = re.compile(
    r"\b(?:ratings?|reviews?|reviewers?|stars?|ranks?|ranking|scores?|votes?|best ?sellers?|feedback)\b"
)
_RATING_VALUE = re.compile(r"\bout of (?:5|five)\b", re.IGNORECASE)
# What `repr` writes for strings, numbers and containers of them. Python's parser never sees anything else:
# it warns about odd escapes and number literals, and may recurse without bound on operators.
_LITERAL = re.compile(
    r"""(?:'(?:[^'\\]|\\[\\'"nrtxuU])*+'|"(?:[^"\\]|\\[\\'"nrtxuU])*+"|None|True|False"""
    r"""|-?\d++(?:\.\d*+)?(?:e[-+]?\d++)?|[\s\[\](){},:]++)*+""",
    re.ASCII,
)
_WIDTH = re.compile(r"(\d{1,5})w", re.ASCII)


class Picture(BaseModel):
    """One picture of a product: its variant (`MAIN` is the first one shown) and its URLs, largest first."""

    model_config = ConfigDict(frozen=True)

    variant: str
    urls: Annotated[tuple[str, ...], Field(min_length=1)]


def _texts(value: object, depth: int = _DEPTH) -> Iterator[str]:
    """The strings in a string, number, list or dict of them, in order; everything else holds no text."""
    if isinstance(value, str):
        if text := _SURROGATE.sub("\ufffd", value).strip():
            yield text
    elif isinstance(value, bool) or value is None or depth == 0:
        return
    elif isinstance(value, (int, float)):
        if math.isfinite(value):
            yield str(value)
    elif isinstance(value, Mapping):
        yield from _texts(list(value.values()), depth)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _texts(item, depth - 1)


def _text(value: object) -> str:
    return " ".join(_texts(value))


def _text_list(value: object) -> tuple[str, ...]:
    return tuple(_texts(_literal(value)))


def _literal(text: object) -> object:
    """The container that a string holds as JSON or Python `repr`; anything else unchanged."""
    if not isinstance(text, str) or len(text) > _LITERAL_CHARS or text.lstrip()[:1] not in ("{", "["):
        return text
    try:
        return _json_value(text)
    except (ValueError, RecursionError):
        pass
    if not _LITERAL.fullmatch(text):
        return text
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return text


def _speaks_of_ratings(key: str, value: str) -> bool:
    """Ratings are what the model predicts; whatever tells them stays out of its text."""
    words = _CAMEL.sub(" ", key).lower()
    return _RATING_KEY.search(words) is not None or _RATING_VALUE.search(value) is not None


def _details(value: object) -> dict[str, str]:
    value = _literal(value)
    if not isinstance(value, Mapping):
        return {"": text} if (text := _text(value)) and not _speaks_of_ratings(text, text) else {}
    pairs = ((_text(key), _detail(item, _DEPTH)) for key, item in value.items())
    return {key: text for key, text in pairs if text and not _speaks_of_ratings(key, text)}


def _detail(value: object, depth: int) -> str:
    """One value of `details`; nested keys stay readable and obey the same rule about ratings."""
    if not isinstance(value, Mapping) or depth == 0:
        return ", ".join(_texts(value, depth))
    pairs = ((_text(key), _detail(item, depth - 1)) for key, item in value.items())
    return ", ".join(f"{key}: {text}" for key, text in pairs if text and not _speaks_of_ratings(key, text))


def _number(value: object) -> float | None:
    """A finite number not below 0, from a number or the first one in a short string such as "$1,299.00"."""
    if isinstance(value, str):
        found = _PRICE.search(value[:64])
        value = float(found[0].replace(",", "")) if found else None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if 0 <= value <= _PRICE_LIMIT else None  # false for NaN


def _rating(value: object) -> float | None:
    number = _number(value)
    return number if number is not None and 1 <= number <= 5 else None


def _count(value: object) -> int | None:
    number = _number(value)
    return None if number is None else int(number)


def _pictures(value: object) -> tuple[Picture, ...]:
    """Pictures from any form they come in; MAIN first, otherwise in the publisher's order."""
    raw_pictures = islice(_raw_pictures(_literal(value)), _PICTURES)
    found = [picture for raw in raw_pictures if (picture := _picture(raw)) is not None]
    unique: dict[str, Picture] = {}
    for picture in sorted(found, key=lambda picture: picture.variant != "MAIN"):
        unique.setdefault(picture.urls[0], picture)
    return tuple(unique.values())


def _raw_pictures(value: object) -> Iterable[object]:
    """A list of pictures, one picture, or (the hub's form) a dict of parallel lists."""
    if not isinstance(value, Mapping):
        return value if isinstance(value, (list, tuple)) else (value,)
    columns = {key: column for key, column in value.items() if isinstance(column, list)}
    if not columns:
        return (value,)
    rows = max(len(column) for column in columns.values())
    return ({key: column[row] for key, column in columns.items() if row < len(column)} for row in range(rows))


def _picture(raw: object) -> Picture | None:
    if isinstance(raw, str):
        raw = {"large": raw}
    if not isinstance(raw, Mapping):
        return None
    urls = dict.fromkeys(_text(raw[key]) for key in sorted(raw, key=_size, reverse=True) if _size(key))
    stated = tuple(url for url in urls if url and url.lower() != "null")
    return Picture(variant=_text(raw.get("variant")).upper(), urls=stated) if stated else None


def _size(key: object) -> int:
    """How large the picture behind a key is; 0 when the key names no picture."""
    named = {"hi_res": 1 << 20, "large": 1 << 19, "thumb": 1}
    if not isinstance(key, str):
        return 0
    width = _WIDTH.fullmatch(key)  # Prime Video: "360w" … "1920w"
    return int(width[1]) if width else named.get(key, 0)


class PictureForm(TypedDict, total=False):
    """One picture as publishers write it; Prime Video has `360w` … `1920w` instead of the three sizes."""

    variant: str | None
    hi_res: str | None
    large: str | None
    thumb: str | None


class PictureColumns(TypedDict, total=False):
    """Pictures as parallel lists, one entry a picture: the hub's form."""

    variant: list[str | None]
    hi_res: list[str | None]
    large: list[str | None]
    thumb: list[str | None]


_TextForm = str | float | None
_TextsForm = str | list[str | list[str | None] | None] | None
_PicturesForm = list[PictureForm | str | None] | PictureColumns | str | None
_DetailsForm = dict[str, Any] | str | None
_Text = Annotated[str, BeforeValidator(_text, json_schema_input_type=_TextForm)]
_Texts = Annotated[tuple[str, ...], BeforeValidator(_text_list, json_schema_input_type=_TextsForm)]
_Pictures = Annotated[tuple[Picture, ...], BeforeValidator(_pictures, json_schema_input_type=_PicturesForm)]
_Details = Annotated[dict[str, str], BeforeValidator(_details, json_schema_input_type=_DetailsForm)]
_Price = Annotated[float | None, BeforeValidator(_number, json_schema_input_type=_TextForm)]
_Rating = Annotated[float | None, BeforeValidator(_rating, json_schema_input_type=_TextForm)]
_Count = Annotated[int | None, BeforeValidator(_count, json_schema_input_type=_TextForm)]


class ProductRecord(BaseModel):
    """A catalog product in the Amazon Reviews 2023 item schema. Only `parent_asin` is required; values of
    another kind than listed here are read as well as they can be, or as empty, and unknown fields ignored.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", title="Product")

    parent_asin: Annotated[
        str,
        Field(min_length=1, max_length=ID_BYTES, description="Id and Kafka key: printable, not a number."),
    ]
    title: _Text = ""
    main_category: _Text = ""
    store: _Text = ""
    categories: _Texts = ()
    features: _Texts = ()
    description: _Texts = ()
    details: _Details = Field({}, description="Or its JSON or Python repr. Keys about ratings are dropped.")
    price: _Price = Field(None, description='A number, or text like "$12.99" or "from $3.00"; "—" is none.')
    images: _Pictures = Field((), description="The MAIN picture comes first, then in the order given.")
    image: _Pictures = Field((), description="Read when `images` names no picture.")
    average_rating: _Rating = Field(None, description="1 to 5; a label for monitoring, no input of a model.")
    rating_number: _Count = Field(None, description="How many ratings; like average_rating.")

    @property
    def pictures(self) -> tuple[Picture, ...]:
        """The product's pictures, MAIN first."""
        return self.images or self.image


def parse_product(value: bytes, max_bytes: int) -> ProductRecord:
    """The product in a record's value; raises RecordRejected (stage "parse") when it holds none."""
    if len(value) > max_bytes:
        raise _rejected(RejectReason.TOO_LARGE, f"{len(value)} bytes; at most {max_bytes} are accepted")
    document = _document(value)
    if not isinstance(document, dict):
        raise _rejected(RejectReason.NOT_OBJECT, f"a JSON {type(document).__name__}, not an object")
    document["parent_asin"] = parse_id(document.get("parent_asin"))
    try:
        return ProductRecord.model_validate(document)
    except ValidationError as exc:
        first = exc.errors(include_url=False, include_input=False)[0]
        raise _rejected(RejectReason.INVALID, f"{first['loc']}: {first['msg']}") from exc


def _document(value: bytes) -> object:
    try:
        return _json_value(value.decode("utf-8-sig"))
    except UnicodeDecodeError as exc:
        raise _rejected(RejectReason.NOT_UTF8, f"byte {exc.start} is not UTF-8") from exc
    except json.JSONDecodeError as exc:
        raise _rejected(RejectReason.NOT_JSON, f"{exc.msg} at character {exc.pos}") from exc
    except RecursionError as exc:
        raise _rejected(RejectReason.INVALID, "nested too deeply") from exc


def _json_value(text: str) -> object:
    """JSON with NaN and Infinity read as null and integers beyond a float's range as infinite."""
    return json.loads(text, parse_constant=lambda _: None, parse_int=_bounded_int)


def _bounded_int(digits: str) -> int | float:
    return int(digits) if len(digits) < 20 else float(digits)


def parse_id(value: object) -> str:
    """An id, from a field or a key, without white space around it. A number may have lost leading zeros."""
    if not isinstance(value, str):
        raise _rejected(RejectReason.NO_ID, "parent_asin must be a string")
    stripped = value.strip()
    if not stripped.isprintable() or len(stripped.encode(errors="surrogatepass")) > ID_BYTES:
        raise _rejected(RejectReason.NO_ID, f"parent_asin must be printable, at most {ID_BYTES} bytes")
    if not stripped:
        raise _rejected(RejectReason.NO_ID, "parent_asin is empty")
    return stripped


def _rejected(reason: RejectReason, detail: str) -> RecordRejected:
    return RecordRejected(reason, "parse", detail)
