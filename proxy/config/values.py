"""The values of single keys: quantities with a unit, money, days, addresses and the names of headers.

Durations are seconds, sizes bytes, percentages fractions. What is wrong with one is said in its own words, as
`E143` where it is its unit, else as `E103`.
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, TypeAdapter, WithJsonSchema
from pydantic_core import PydanticCustomError

from proxy.checking import addresses, units
from proxy.checking.names import is_header_name
from proxy.checking.units import Rate
from proxy.config.secrets import Secret

# Browsers write an origin without a path; apps in a shell of their own have schemes of their own (tauri://).
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(?:[a-z0-9.-]+|\[[0-9a-f:.]+\])(?::\d{1,5})?\Z")

_AMOUNT_PATTERN = r"^[0-9]{1,10}(?:\.[0-9]{1,12})?$"
_AMOUNT = re.compile(_AMOUNT_PATTERN.removesuffix("$") + r"\Z")
_MOST_BUDGET = 1_000_000_000

PICTURE_SIZES = ("512", "1K", "2K", "4K")  # that have prices of their own, the smallest first
ANY_SIZE = "any"  # what a price holds for that knows no sizes


def _quantity(parse: Callable[[str], Any]) -> BeforeValidator:
    def check(value: object) -> Any:
        try:
            return units.read(parse, value)
        except ValueError as exc:
            number = exc.number if isinstance(exc, units.NoUnitError) else None
            raise PydanticCustomError("E143", "{reason}", {"reason": str(exc), "number": number}) from exc

    return BeforeValidator(check)


def _text_schema(pattern: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": pattern})


Duration = Annotated[float, _quantity(units.duration), _text_schema(units.DURATION_PATTERN)]
Size = Annotated[int, _quantity(units.size), _text_schema(units.SIZE_PATTERN)]
RateOf = Annotated[Rate, _quantity(units.rate), _text_schema(units.RATE_PATTERN)]
Percent = Annotated[float, _quantity(units.percent), _text_schema(units.PERCENT_PATTERN)]


def default(value: Any, text: str) -> Any:
    """A default that the schema shows as the file would write it."""
    return Field(default=value, json_schema_extra={"default": text})


def _money(value: object) -> object:
    # A float's shortest decimal form is what the file said.
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return Decimal(repr(value))
    if isinstance(value, str):
        raise PydanticCustomError("E103", "must be a plain number such as 0.50, not text")
    return value


Money = Annotated[
    Decimal, BeforeValidator(_money), Field(ge=0), WithJsonSchema({"type": "number", "minimum": 0})
]
_MONEY: TypeAdapter[Decimal] = TypeAdapter(Money)


def _by_size(value: object) -> object:
    """One amount is that of a picture of any size."""
    if not isinstance(value, dict):
        return {ANY_SIZE: _MONEY.validate_python(value)}
    for name in value:
        if name not in PICTURE_SIZES:
            said = {"size": name, "known": ", ".join(PICTURE_SIZES)}
            raise PydanticCustomError("E103", 'has a size "{size}"; sizes are {known}', said)
    return value


def _day(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return date.fromisoformat(value)
    except ValueError:
        raise PydanticCustomError("E103", "must be a day such as 2027-01-01") from None


PerPicture = Annotated[
    dict[str, Money],
    Field(min_length=1),
    BeforeValidator(_by_size),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "minimum": 0},
                {
                    "type": "object",
                    "propertyNames": {"enum": list(PICTURE_SIZES)},
                    "additionalProperties": {"type": "number", "minimum": 0},
                },
            ]
        }
    ),
]
Day = Annotated[date, BeforeValidator(_day), WithJsonSchema({"type": "string", "format": "date"})]


def _address(value: str) -> str:
    if cure := addresses.cure_of(value):
        raise PydanticCustomError("E103", addresses.WANTED, {"cure": cure})
    if urlsplit(value).username is not None:
        raise PydanticCustomError("E103", "must not hold a user or password; put them into keys or headers")
    return value.rstrip("/")


Address = Annotated[str, AfterValidator(_address), WithJsonSchema({"type": "string", "minLength": 1})]


def _header_name(value: str) -> str:
    if not is_header_name(value):
        raise PydanticCustomError("E103", "must be the name of a header")
    return value


HeaderName = Annotated[str, AfterValidator(_header_name), WithJsonSchema({"type": "string", "minLength": 1})]


def _printable(value: str) -> str:
    if not (value.isascii() and value.isprintable()):
        raise PydanticCustomError("E103", "must be plain printable text")
    return value


Printable = Annotated[str, AfterValidator(_printable)]


def _present(secrets: list[Secret | None]) -> list[Secret]:
    return [secret for secret in secrets if secret is not None]


if TYPE_CHECKING:
    Keys = list[Secret]
else:  # while it is read, a key whose variable is not set holds its place
    Keys = Annotated[list[Secret | None], AfterValidator(_present)]


def _origin(value: str) -> str:
    origin = value.removesuffix("/").lower()
    if origin != "*" and not _ORIGIN.match(origin):
        cure = {"cure": "write scheme and host alone, as browsers do: no path, no pattern"}
        raise PydanticCustomError("E103", "must be an origin like https://app.example:8443, or *", cure)
    return origin


Origin = Annotated[str, AfterValidator(_origin), WithJsonSchema({"type": "string", "minLength": 1})]


def _host(value: str) -> str:
    bare = value.strip("[]")
    if not bare or set("/ *") & set(value) or value.count(":") == 1:
        cure = {"cure": "write 127.0.0.1 or 0.0.0.0; the port stands in server.port"}
        raise PydanticCustomError("E103", "must be a host alone, without scheme, port and path", cure)
    return value


Host = Annotated[str, AfterValidator(_host), WithJsonSchema({"type": "string", "minLength": 1})]


def _store(address: Secret) -> Secret:
    """In SQLAlchemy's spelling; many platforms hand out `postgres://`."""
    scheme, sign, rest = address.reveal().partition("://")
    return Secret(f"postgresql{sign}{rest}") if scheme == "postgres" else address


StoreAddress = Annotated[Secret, AfterValidator(_store)]


def _signing(secret: Secret) -> Secret:
    """Receivers read what follows `whsec_` as base64; any other text signs as it is."""
    prefix, found, key = secret.reveal().partition("whsec_")
    if found and not prefix and not _is_base64(key):
        cure = {"cure": "make one: echo whsec_$(openssl rand -base64 24)"}
        raise PydanticCustomError("E103", "must have base64 after whsec_", cure)
    return secret


def _is_base64(text: str) -> bool:
    try:
        return bool(b64decode(text, validate=True))
    except ValueError:
        return False


SigningSecret = Annotated[Secret, AfterValidator(_signing)]


def _budget_amount(value: object) -> object:
    """Text keeps every place of it: `"20"`, `"0.50"`; a number is taken as a price is."""
    if not isinstance(value, str):
        return _money(value)
    if not _AMOUNT.match(value):
        raise PydanticCustomError("E103", 'must be a plain amount such as "20" or "0.50"')
    return Decimal(value)


Amount = Annotated[
    Decimal,
    BeforeValidator(_budget_amount),
    Field(gt=0, le=_MOST_BUDGET),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": _AMOUNT_PATTERN},
                {"type": "number", "exclusiveMinimum": 0, "maximum": _MOST_BUDGET},
            ]
        }
    ),
]
