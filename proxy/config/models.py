"""The configuration as values: what every key of providers.yaml is called, holds and defaults to.

Attributes are spelled like the keys. Durations are seconds, sizes bytes, percentages fractions. Every key
is described in docs/configuration.md; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    model_validator,
)
from pydantic_core import CoreSchema, PydanticCustomError

from proxy import keys
from proxy.checking.units import Rate
from proxy.config.secrets import Secret
from proxy.config.values import (
    Address,
    Amount,
    Day,
    Duration,
    HeaderName,
    Host,
    Keys,
    Money,
    Origin,
    Percent,
    PerPicture,
    Printable,
    RateOf,
    SigningSecret,
    Size,
    StoreAddress,
    default,
)

_HEADER_NAME = r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$"

MOST_ATTEMPTS = 20

# Callers of ours: the admin, everybody in open mode, the key of `serve --simulate`, and `dragoman try`.
_OUR_CALLERS = frozenset({"admin", "open", "session", "try"})

ImageOutput = Literal["auto", "images", "parts", "markdown", "link", "images+link"]
OnDisconnect = Literal["cancel", "finish", "finish_if_paid"]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)


class Files(_Section):
    """Pictures that are delivered by link. `folder` is None for the place beside the database file."""

    folder: str | None = Field(default=None, min_length=1)
    ttl: Annotated[Duration, Field(gt=0)] = default(24 * 3600.0, "24h")
    max_bytes: Annotated[Size, Field(gt=0)] = default(2 * 1024**3, "2GiB")


class Replies(_Section):
    """Replies that clients come back to. `max_bytes` is what one key may have of them."""

    ttl: Annotated[Duration, Field(gt=0)] = default(7 * 24 * 3600.0, "7d")
    max_bytes: Annotated[Size, Field(gt=0)] = default(256 * 1024**2, "256MiB")


class Cors(_Section):
    """The web pages that may call us from a browser, by their origins; none of them by default."""

    origins: list[Origin] = []
    headers: list[Annotated[str, Field(pattern=_HEADER_NAME)]] = ["*"]

    def welcomes(self, origin: str) -> bool:
        return "*" in self.origins or origin in self.origins


class InFlight(_Section):
    """What a worker answers at the same time: requests, and bytes of their bodies."""

    requests: int = Field(default=1000, ge=1)
    bytes: Annotated[Size, Field(gt=0)] = default(512 * 1024**2, "512MiB")


class ClientTimeouts(_Section):
    """How patient we are with clients: until a head is complete, between two bytes of a body, while they read
    nothing of a reply, and between two requests of a connection."""

    head: Annotated[Duration, Field(gt=0)] = default(10.0, "10s")
    body: Annotated[Duration, Field(gt=0)] = default(10.0, "10s")
    write: Annotated[Duration, Field(gt=0)] = default(60.0, "60s")
    idle: Annotated[Duration, Field(gt=0)] = default(75.0, "75s")


class Server(_Section):
    """Where we listen and keep things. `state` and `shared` may hold a password."""

    host: Host = "127.0.0.1"
    port: int = Field(default=8080, ge=0, le=65535)
    workers: int = Field(default=1, ge=1)
    state: StoreAddress = default(Secret("sqlite:./state/dragoman.db"), "sqlite:./state/dragoman.db")
    shared: Secret | None = None
    public_url: Address | None = None
    cors: Cors = Cors()
    files: Files = Files()
    replies: Replies = Replies()
    body_limit: Size = default(64 * 1024**2, "64MiB")
    in_flight: InFlight = InFlight()
    connections: int = Field(default=2000, ge=1)
    timeouts: ClientTimeouts = ClientTimeouts()
    reuse_port: bool = True
    lead: Duration = default(0.0, "0s")
    drain: Duration = default(30.0, "30s")


class Auth(_Section):
    mode: Literal["keys", "open"] = "keys"
    admin: Secret | None = None


class Limits(_Section):
    requests: RateOf | None = None
    images: RateOf | None = None
    tokens: RateOf | None = None
    concurrent: int | None = Field(default=None, ge=1)

    def written(self) -> dict[str, Any]:
        """As the file would have it."""
        values = {name: getattr(self, name) for name in type(self).model_fields}
        return {
            name: value.written() if isinstance(value, Rate) else value
            for name, value in values.items()
            if value is not None
        }

    def of_caller(self, everyone: Limits) -> keys.Limits | None:
        """Of a key with these; `everyone` says what they leave open."""
        found = keys.Limits(
            _window(self.requests or everyone.requests),
            _window(self.tokens or everyone.tokens),
            _window(self.images or everyone.images),
            self.concurrent or everyone.concurrent,
        )
        return None if found == keys.Limits() else found


def _window(rate: Rate | None) -> keys.Window | None:
    return None if rate is None else keys.Window(rate.count, rate.per_s)


class SharedLimits(_Section):
    """Limits of the whole file; a key's own come first."""

    everyone: Limits = Limits()


class Budget(_Section):
    """What a key may spend in a period: a day or a month of UTC, or in total."""

    amount: Amount
    currency: str = Field(min_length=1, max_length=20)
    period: keys.Period

    def written(self) -> dict[str, str]:
        """As the file would have it."""
        return {"amount": f"{self.amount:f}", "currency": self.currency, "period": self.period}

    def of_caller(self) -> keys.Budget:
        return keys.Budget(self.amount, self.currency, self.period)


class Key(_Section):
    """A caller. `key` is None while its variable is not set: then nobody can call with it."""

    name: str = Field(min_length=1)
    key: Secret | None = None
    models: list[str] = Field(default=["*"], min_length=1)
    limits: Limits = Limits()
    budget: Budget | None = None
    image_output: ImageOutput | None = None


class Timeouts(_Section):
    connect: Annotated[Duration, Field(gt=0)] = default(5.0, "5s")
    first_byte: Annotated[Duration, Field(gt=0)] = default(120.0, "120s")
    idle: Annotated[Duration, Field(gt=0)] = default(60.0, "60s")
    total: Annotated[Duration, Field(gt=0)] = default(600.0, "600s")

    def changed(self, *changes: TimeoutChanges) -> Timeouts:
        """These, with what a provider and then a model says instead."""
        update = {name: value for change in changes for name, value in change if value is not None}
        return self.model_copy(update=update)


class TimeoutChanges(_Section):
    connect: Annotated[Duration, Field(gt=0)] | None = None
    first_byte: Annotated[Duration, Field(gt=0)] | None = None
    idle: Annotated[Duration, Field(gt=0)] | None = None
    total: Annotated[Duration, Field(gt=0)] | None = None


class Retry(_Section):
    attempts: int = Field(default=3, ge=1, le=MOST_ATTEMPTS)
    budget: Percent = default(0.2, "20%")


class Images(_Section):
    """What pictures a client may send, and how those it names by address are fetched."""

    fetch: bool = True
    max_count: int = Field(default=16, ge=1)
    max_bytes: Size = default(20 * 1024**2, "20MiB")
    max_total: Size = default(48 * 1024**2, "48MiB")
    timeout: Annotated[Duration, Field(gt=0)] = default(20.0, "20s")


class Callbacks(_Section):
    """How clients are told that a task is over. `private`: also at addresses that are not public, and by
    http."""

    secret: SigningSecret | None = None
    private: bool = False


class Tasks(_Section):
    """Picture jobs that outlive a request: how long a process has one to itself without a sign of life, how
    long one is known when it is over, and how many a process runs at once."""

    lease: Annotated[Duration, Field(ge=1)] = default(15.0, "15s")
    keep: Annotated[Duration, Field(gt=0)] = default(24 * 3600.0, "24h")
    at_once: int = Field(default=64, ge=1)
    callbacks: Callbacks = Callbacks()


class Defaults(_Section):
    """What holds where nothing nearer says otherwise. Those whose names end in `model` answer, for one
    kind of request each, the names that nobody has; they and `chores` are a model, or
    `provider/upstream-model`."""

    timeouts: Timeouts = Timeouts()
    retry: Retry = Retry()
    heartbeat: Duration = default(15.0, "15s")
    image_output: ImageOutput = "auto"
    model: str | None = Field(default=None, min_length=1)
    image_model: str | None = Field(default=None, min_length=1)
    embedding_model: str | None = Field(default=None, min_length=1)
    speech_model: str | None = Field(default=None, min_length=1)
    transcript_model: str | None = Field(default=None, min_length=1)
    moderation_model: str | None = Field(default=None, min_length=1)
    chores: str | None = Field(default=None, min_length=1)
    images: Images = Images()


class ProviderAuth(_Section):
    """How a provider's keys travel: exactly one of `header`, `query` and `grant` is set."""

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": [name]} for name in ("header", "query", "grant")]}
    )

    header: HeaderName | None = None
    prefix: Printable = ""
    query: Printable | None = Field(default=None, min_length=1)
    grant: Literal["service_account"] | None = None
    scope: str | None = Field(default=None, min_length=1)


class ProviderEntry(_Section):
    """An account at a vendor. Exactly one of `wire` and `profile` is set.

    `base_url` is None where the profile's own holds. Keys whose variable is not set are left out.
    """

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": ["wire"]}, {"required": ["profile"]}]}
    )

    wire: Literal["gemini", "openai"] | None = None
    profile: str | None = None
    base_url: Address | None = None
    keys: Keys = []
    auth: ProviderAuth | None = None
    private: bool = False
    options: dict[str, Any] = {}
    headers: dict[str, Secret] = {}
    timeouts: TimeoutChanges = TimeoutChanges()
    on_disconnect: OnDisconnect = "finish_if_paid"
    currency: str = Field(default="USD", min_length=1)


class _TokenPrices(_Section):
    input: Money | None = None
    output: Money | None = None
    cached: Money | None = None
    input_image: Money | None = None
    input_audio: Money | None = None
    cached_image: Money | None = None
    cached_audio: Money | None = None
    output_image: Money | None = None
    output_audio: Money | None = None


class LongContext(_TokenPrices):
    """What all tokens of a request cost that has more than `tokens` in its prompt."""

    tokens: int = Field(ge=1)


class Price(_TokenPrices):
    """Tokens by direction and kind per `per`, pictures each, in all sizes alike or from a size up, and each
    `second` that the vendor counts. It holds `from` a day on, at midnight UTC, until the next one does of its
    `tier`, which the vendor names in its reply."""

    image: PerPicture | None = None
    second: Money | None = None
    above: LongContext | None = None
    per: Literal["1K", "1M"] = "1M"
    currency: str | None = Field(default=None, min_length=1)
    since: Day | None = Field(default=None, alias="from")
    tier: Literal["batch", "flex", "priority"] | None = None


def _prices(value: object) -> object:
    """One price is a list of one; `unpriced` is none at all, and meant."""
    if value == "unpriced":
        return []
    if value == []:
        raise PydanticCustomError("E103", "is empty; write unpriced where that is meant")
    if isinstance(value, list):
        return value
    if isinstance(value, dict):
        return [Price.model_validate(value)]
    cure = {"cure": "write price: {input: 0.50, output: 3.00}, or {image: 0.04} for pictures"}
    raise PydanticCustomError("E103", "must be a mapping, a list of them with `from`, or unpriced", cure)


Prices = Annotated[
    list[Price],
    BeforeValidator(_prices, json_schema_input_type=Price | list[Price] | Literal["unpriced"]),
]


class TargetEntry(_Section):
    """`use` is `provider/upstream-model`, `provider.surface/upstream-model` or, in a fallback, a model."""

    use: str = Field(min_length=1)
    weight: int = Field(default=1, ge=0)
    price: Prices | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: object) -> object:
        if isinstance(value, str):
            return {"use": value}
        if not isinstance(value, (dict, TargetEntry)):
            raise PydanticCustomError("E103", "must be provider/upstream-model, or {use: ..., weight: ...}")
        return value

    @property
    def provider(self) -> str:
        return self.use.partition("/")[0].partition(".")[0]

    @property
    def surface(self) -> str | None:
        return self.use.partition("/")[0].partition(".")[2] or None

    @property
    def model(self) -> str:
        """The upstream's name of the model; empty where `use` names a model of the file."""
        return self.use.partition("/")[2]

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"anyOf": [{"type": "string", "minLength": 1}, handler.resolve_ref_schema(handler(schema))]}


class PollChanges(_Section):
    """Overrides the profile's rhythm of asking for a task."""

    every: Annotated[Duration, Field(gt=0)] | None = None
    give_up: Annotated[Duration, Field(gt=0)] | None = None


class RequestDefaults(_Section):
    """Request fields that hold where the client said nothing, named as clients send them.

    Iterating, and so `dict(...)`, gives only those the file sets.
    """

    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh"] | None = None
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, ge=0, le=1)
    top_k: int | None = Field(default=None, ge=1)
    max_tokens: int | None = Field(default=None, ge=1)
    seed: int | None = None
    presence_penalty: float | None = Field(default=None, ge=-2, le=2)
    frequency_penalty: float | None = Field(default=None, ge=-2, le=2)
    service_tier: str | None = None
    safety_settings: list[dict[str, str]] | None = None
    size: str | None = None
    aspect_ratio: str | None = None
    image_size: str | None = None
    quality: str | None = None
    background: str | None = None
    output_format: str | None = None
    output_compression: int | None = Field(default=None, ge=0, le=100)
    negative_prompt: str | None = None
    dimensions: int | None = Field(default=None, ge=1)
    task_type: str | None = None

    def __iter__(self) -> Iterator[tuple[str, Any]]:  # type: ignore[override]
        return (pair for pair in super().__iter__() if pair[1] is not None)


class ModelEntry(_Section):
    """A name clients send, and the targets that answer. `aliases` may be patterns; `chores` is a model, or
    `provider/upstream-model`."""

    aliases: list[str] = []
    description: str | None = None
    targets: list[TargetEntry] = Field(min_length=1)
    pick: Literal["ordered", "weighted"] = "ordered"
    fallback: list[TargetEntry] = []
    defaults: RequestDefaults = RequestDefaults()
    options: dict[str, Any] = {}
    image_output: ImageOutput | None = None
    chores: str | None = Field(default=None, min_length=1)
    poll: PollChanges = PollChanges()
    timeouts: TimeoutChanges = TimeoutChanges()
    price: Prices | None = None

    @model_validator(mode="before")
    @classmethod
    def _weights_ask_to_be_used(cls, value: object) -> object:
        if not isinstance(value, dict) or "pick" in value or not isinstance(value.get("targets"), list):
            return value
        weighted = any(isinstance(target, dict) and "weight" in target for target in value["targets"])
        return {**value, "pick": "weighted"} if weighted else value


class NewKey(_Section):
    """A client key that shall be made at run time: not of the file, but in its words. `expires_at` is in
    seconds since 1970."""

    # One line on a terminal and in a log, and what every store can keep.
    name: str = Field(
        min_length=1,
        max_length=100,
        pattern=r"^[^\s/\p{Cc}](?:[^/\p{Cc}\p{Zl}\p{Zp}]*[^\s/\p{Cc}])?$",
    )
    models: list[str] = Field(default=["*"], min_length=1)
    image_output: ImageOutput | None = None
    limits: Limits = Limits()
    budget: Budget | None = None
    expires_in: Annotated[Duration, Field(gt=0)] | None = None
    expires_at: float | None = None


class Rotation(_Section):
    """How a key changes its secret: the old one is good for so many seconds yet."""

    keep: Duration = default(0.0, "0s")


class Config(_Section):
    """The whole file."""

    version: Literal[1] = 1
    server: Server = Server()
    auth: Auth = Auth()
    keys: list[Key] = []
    defaults: Defaults = Defaults()
    tasks: Tasks = Tasks()
    providers: dict[str, ProviderEntry] = {}
    profiles: dict[str, dict[str, Any]] = {}
    models: dict[str, ModelEntry] = {}
    rates: dict[str, Annotated[Money, Field(gt=0)]] = {}
    limits: SharedLimits = SharedLimits()

    def taken_names(self) -> frozenset[str]:
        """What a client key that is made at run time cannot be called."""
        return _OUR_CALLERS.union(key.name for key in self.keys)

    def apart(self, folder: str) -> Config:
        """The same with all that it keeps in a folder of its own, and nothing shared: for simulated vendors,
        whose money is none."""
        files = self.server.files.model_copy(update={"folder": f"{folder}/files"})
        own = {"state": Secret(f"sqlite:{folder}/dragoman.db"), "shared": None, "files": files}
        return self.model_copy(update={"server": self.server.model_copy(update=own)})

    def currency_of(self, model: ModelEntry) -> str:
        """That of the model's prices which name none: its first target's, wherever it is answered."""
        return self.providers[model.targets[0].provider].currency
