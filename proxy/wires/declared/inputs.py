"""What a request template may insert, from a client's picture request, within the vendor's limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from proxy.errors import RequestError
from proxy.pictures import media_types, sizes
from proxy.types import FormFile, ImageRequest, MediaPart, Slice, Target
from proxy.wires.declared.sections import RequestLimits
from proxy.wires.declared.template import ABSENT, word
from proxy.wires.declared.variants import Variant

# Fields whose value "auto" asks for nothing, so that nothing is lost when it is not sent.
_FIELDS = (
    "negative_prompt", "seed", "background", "output_format", "output_compression", "moderation", "style",
    "user", "partial_images",
)  # fmt: skip
_SAYS_NOTHING = (None, "auto")

# What a template may insert, or is named in `dropped`. A stream may be made of the job's one reply.
CARRIES = frozenset({*_FIELDS, "model", "prompt", "n", "image", "references", "mask", "stream"})


def inputs_of(
    request: ImageRequest,
    target: Target,
    variant: Variant,
    options: Mapping[str, Any],
    wish: sizes.Wish,
    size: sizes.Size,
    uploaded: Sequence[str] | None = None,
) -> dict[str, Any]:
    """The names of `template.INPUTS` with their values, but for `uuid` and `random`. `uploaded` is what the
    vendor calls the pictures of `to_upload`; None: nobody has asked it yet. Raises `RequestError` naming the
    field."""
    if (
        refusal := broken_limit(request, variant)
    ) is not None:  # a picture that was fetched since is seen only now
        raise refusal
    if request.n > variant.limits.n:
        raise RequestError(
            f"This model makes at most {variant.limits.n} picture{'s' * (variant.limits.n > 1)} in one call.",
            attribute="n",
            code="invalid_value",
        )
    named = _Named(variant.limits.references, uploaded)
    width, height = _sides(size, variant)
    values = {name: getattr(request, name) for name in _FIELDS}
    return {
        **values,
        "model": target.model,
        "prompt": request.prompt,
        "n": request.n,
        "aspect": size.aspect,
        "tier": size.tier,
        "pixels": size.pixels,
        "width": width,
        "height": height,
        "quality": None if _is_size(wish, variant) else request.image.quality,
        "references": [
            named.reference(part, f"references[{at}]") for at, part in enumerate(request.references)
        ],
        "mask": named.reference(request.mask, "mask")["ref"] if request.mask else None,
        "stream": request.stream or None,
        "options": {**options, **target.options},
    }


def size_of(request: ImageRequest, variant: Variant) -> tuple[sizes.Wish, sizes.Size]:
    """What the client asked for, and what the model makes of it. Raises `RequestError`."""
    if variant.size is None:
        return sizes.parse(request.image), sizes.Size()
    image = request.image
    if variant.size.hd_is_quality and (image.quality or "").strip().lower() == "hd":
        image = replace(image, quality=None)
    wish = sizes.parse(image)
    return wish, sizes.choose(wish, variant.size)


def _is_size(wish: sizes.Wish, variant: Variant) -> bool:
    """Whether the client's `quality` was a word for the size."""
    return variant.size is not None and wish.fields.get("tier") == "quality"


def foreign_of(request: ImageRequest, variant: Variant, values: Mapping[str, Any]) -> dict[str, Any]:
    """What the client wrote in the vendor's own dialect and goes on as it is."""
    foreign, rule = request.foreign, variant.foreign
    if foreign is None or rule is None or foreign.dialect != rule.dialect:
        return {}
    unknown = rule.unknown.render(values)
    everything = unknown is not ABSENT and bool(unknown)
    return {name: value for name, value in foreign.fields.items() if everything or name in rule.known}


def left_foreign(request: ImageRequest, sent: Mapping[str, Any]) -> tuple[str, ...]:
    """The client's fields in a dialect's own words that do not go on."""
    paths = request.foreign.paths() if request.foreign is not None else []
    return tuple(path for path in paths if path.removeprefix("foreign.") not in sent)


def asks_for(request: ImageRequest, inputs: frozenset[str]) -> bool:
    """Whether a field is sent that is made of these inputs: of the client's wishes, or of none."""
    wishes = inputs - {"options"}
    return not wishes or any(getattr(request, name, None) not in (None, False) for name in wishes)


def dropped(
    request: ImageRequest, variant: Variant, wish: sizes.Wish, size: sizes.Size, used: frozenset[str]
) -> tuple[str, ...]:
    """The client's fields that no template used, but those of its dialect."""
    tabled = variant.submit.tabled
    given = {name: getattr(request, name) for name in _FIELDS}
    names = [
        name
        for name, value in given.items()
        if value not in _SAYS_NOTHING and (name not in used or not _is_in(tabled.get(name), value))
    ]
    if request.partial_images == 0 and "partial_images" in names:
        names.remove("partial_images")
    if variant.size is None:
        names += (f"image.{name}" for name in sorted({*wish.fields.values(), *wish.ignored} - {"quality"}))
    elif wish.tier and not (size.tier or size.pixels):
        names.append(f"image.{wish.fields['tier']}")
    else:
        names += (f"image.{name}" for name in sizes.unmet(wish, variant.size))
    quality = request.image.quality
    if quality not in _SAYS_NOTHING and "quality" not in used and not _is_size(wish, variant):
        names.append("image.quality")
    return tuple(names)


def _is_in(rows: frozenset[str] | None, value: Any) -> bool:
    """Whether tables let this value through; None: it is named elsewhere too."""
    return rows is None or word(value) in rows


def broken_limit(request: ImageRequest, variant: Variant) -> RequestError | None:
    """What the model does not take of this request, None if it takes it all."""
    limits = variant.limits
    if limits.prompt_chars is not None and len(request.prompt) > limits.prompt_chars:
        return RequestError(
            f"The prompt has {len(request.prompt)} characters; this model takes {limits.prompt_chars}.",
            attribute="prompt",
            code="string_above_max_length",
        )
    if request.mask is not None and not (variant.submit.used & {"mask"}):
        return RequestError("This model does not take a mask.", attribute="mask", code="mask_not_supported")
    if not request.references:
        return None
    if not limits.references:
        return RequestError(
            "This model does not take pictures as input.",
            attribute="references",
            code="unsupported_image_input",
        )
    if limits.max_references is not None and len(request.references) > limits.max_references:
        return RequestError(
            f"This model takes at most {limits.max_references} pictures, not {len(request.references)}.",
            attribute="references",
            code="too_many_images",
        )
    found = (_broken_by(part, limits, at) for at, part in enumerate(request.references))
    return next((refusal for refusal in found if refusal is not None), None)


def _broken_by(part: MediaPart, limits: RequestLimits, at: int) -> RequestError | None:
    where = part.where or None
    at_attribute = f"references[{at}]"
    if part.data is None:
        return _other_type(media_types.of_address(part.url or ""), limits, where, at_attribute)
    size_bytes = len(part.data) // 4 * 3
    if limits.max_reference_bytes is not None and size_bytes > limits.max_reference_bytes + 2:
        return RequestError(
            f"The picture has about {size_bytes} bytes; this model takes {limits.max_reference_bytes}.",
            param=where,
            attribute=at_attribute,
            code="image_too_large",
        )
    mime = _mime(part)
    if not (media_types.sniff(part.data.head(media_types.HEAD_BYTES)) or "").startswith("image/"):
        return RequestError(
            "This is not a picture, or not one we know.",
            param=where,
            attribute=at_attribute,
            code="invalid_image",
        )
    return _other_type(mime, limits, where, at_attribute)


def _other_type(
    mime: str | None, limits: RequestLimits, where: str | None, attribute: str
) -> RequestError | None:
    """`mime` is None where an address does not tell: then the vendor looks."""
    if mime is None or not limits.reference_types or mime in limits.reference_types:
        return None
    return RequestError(
        f"The picture is {mime}; this model takes {', '.join(limits.reference_types)}.",
        param=where,
        attribute=attribute,
        code="unsupported_image_type",
    )


def _mime(part: MediaPart) -> str:
    head = part.data.head(media_types.HEAD_BYTES) if part.data is not None else b""
    return media_types.sniff(head) or part.mime or "application/octet-stream"


class _Named:
    """What pictures are called in an order, in the first form that fits each."""

    def __init__(self, forms: tuple[str, ...], uploaded: Sequence[str] | None) -> None:
        self._forms = forms
        self._uploaded = iter(uploaded) if uploaded is not None else None
        self._count = 0

    def reference(self, part: MediaPart, attribute: str) -> dict[str, Any]:
        """`ref` and its `mime`. Raises `RequestError`."""
        form = _form_of(part, self._forms)
        if form == "url":
            return {"ref": part.url, "mime": part.mime}
        if form is None:
            raise _not_taken(part, self._forms, attribute)
        mime = _mime(part)
        return {
            "ref": self._uploaded_name() if form == "upload" else _written(part, form, mime),
            "mime": mime,
        }

    def _uploaded_name(self) -> str:
        self._count += 1
        return f"{{upload {self._count}}}" if self._uploaded is None else next(self._uploaded)


def _form_of(part: MediaPart, forms: tuple[str, ...]) -> str | None:
    fits = (form for form in forms if (part.url if form == "url" else part.data) is not None)
    return next(fits, None)


def _written(part: MediaPart, form: str, mime: str) -> Any:
    assert part.data is not None
    if form == "data_uri":
        return Slice(part.data.raw, prefix=f"data:{mime};base64,".encode())
    if form == "file":
        return FormFile("", _name(part, mime), mime, part.data)
    return part.data


def _name(part: MediaPart, mime: str) -> str:
    return part.filename or f"image.{media_types.EXTENSIONS.get(mime, 'bin')}"


def _not_taken(part: MediaPart, forms: tuple[str, ...], attribute: str) -> RequestError:
    return RequestError(
        "This model takes pictures only by public address, not as data."
        if forms == ("url",)
        else "This model cannot be given this picture by address.",
        param=part.where or None,
        attribute=attribute,
        code="unsupported_image_input",
    )


def to_upload(request: ImageRequest, variant: Variant) -> list[MediaPart]:
    """The pictures that the vendor wants to have before the order, in the order in which it names them."""
    parts = [*request.references, *([request.mask] if request.mask else [])]
    return [part for part in parts if _form_of(part, variant.limits.references) == "upload"]


def file_inputs(part: MediaPart) -> dict[str, Any]:
    """The names of `template.UPLOAD_INPUTS` with their values but `model`."""
    mime = _mime(part)
    return {
        "file": _written(part, "file", mime),
        "mime": mime,
        "name": _name(part, mime),
        "base64": part.data,
        "data_uri": _written(part, "data_uri", mime),
    }


def _sides(size: sizes.Size, variant: Variant) -> tuple[int | None, int | None]:
    """Width and height of a size that is given in pixels."""
    if size.pixels is None or variant.size is None:
        return None, None
    width, _, height = size.pixels.partition(variant.size.separator)
    return (int(width), int(height)) if width.isdecimal() and height.isdecimal() else (None, None)
