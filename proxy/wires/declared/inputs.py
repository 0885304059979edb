"""What a request template may insert, from a client's picture request, within the vendor's limits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from proxy.errors import RequestError
from proxy.pictures import media_types, sizes
from proxy.types import FormFile, ImageRequest, MediaPart, Slice, Target
from proxy.wires.declared.sections import Limits
from proxy.wires.declared.template import ABSENT, Node
from proxy.wires.declared.variants import Variant

# Fields whose value "auto" asks for nothing, so that nothing is lost when it is not sent.
_FIELDS = (
    "negative_prompt", "seed", "background", "output_format", "output_compression", "moderation", "style",
    "user", "partial_images",
)  # fmt: skip
_SAYS_NOTHING = (None, "auto")


def inputs_of(
    request: ImageRequest, target: Target, variant: Variant, options: Mapping[str, Any], size: sizes.Size
) -> dict[str, Any]:
    """The names of `template.INPUTS` with their values. Raises `RequestError` naming the field."""
    _check(request, variant)
    forms = variant.limits.references
    values = {name: getattr(request, name) for name in _FIELDS}
    return {
        **values,
        "model": target.model,
        "prompt": request.prompt,
        "n": request.n,
        "aspect": size.aspect,
        "tier": size.tier,
        "pixels": size.pixels,
        "quality": request.image.quality,
        "references": [_reference(part, forms, f"image[{at}]") for at, part in enumerate(request.references)],
        "mask": _reference(request.mask, forms, "mask")["ref"] if request.mask else None,
        "options": {**options, **target.options},
    }


def size_of(request: ImageRequest, variant: Variant) -> tuple[sizes.Wish, sizes.Size]:
    """What the client asked for, and what the model makes of it. Raises `RequestError`."""
    if variant.size is None:
        return sizes.parse(request.image, lenient=True), sizes.Size()
    wish = sizes.parse(request.image)
    return wish, sizes.choose(wish, variant.size)


def dropped(request: ImageRequest, variant: Variant, wish: sizes.Wish) -> tuple[str, ...]:
    """The client's fields that this surface has no place for."""
    used = variant.submit.used
    names = [name for name in _FIELDS if name not in used and getattr(request, name) not in _SAYS_NOTHING]
    if request.partial_images == 0 and "partial_images" in names:
        names.remove("partial_images")
    if variant.size is None:
        names += sorted(set(wish.fields.values()) - {"quality"})
    is_size = variant.size is not None and wish.fields.get("tier") == "quality"
    if request.image.quality not in _SAYS_NOTHING and "quality" not in used and not is_size:
        names.append("quality")
    return (*request.dropped, *names, *request.documented, *request.unknown)


def _check(request: ImageRequest, variant: Variant) -> None:
    limits = variant.limits
    if limits.prompt_chars is not None and len(request.prompt) > limits.prompt_chars:
        raise RequestError(
            f"The prompt has {len(request.prompt)} characters; this model takes {limits.prompt_chars}.",
            param="prompt",
            code="string_above_max_length",
        )
    if request.n > limits.n:
        raise RequestError(
            f"This model makes at most {limits.n} pictures in one call.", param="n", code="invalid_value"
        )
    if request.mask is not None and not (variant.submit.used & {"mask"}):
        raise RequestError("This model does not take a mask.", param="mask", code="mask_not_supported")
    if not request.references:
        return
    if not limits.references:
        raise RequestError(
            "This model does not take pictures as input.", param="image", code="unsupported_image_input"
        )
    if limits.max_references is not None and len(request.references) > limits.max_references:
        raise RequestError(
            f"This model takes at most {limits.max_references} pictures, not {len(request.references)}.",
            param="image",
            code="too_many_images",
        )
    for at, part in enumerate(request.references):
        _check_reference(part, limits, part.where or f"image[{at}]")


def _check_reference(part: MediaPart, limits: Limits, where: str) -> None:
    if part.data is None:
        return
    size_bytes = len(part.data) // 4 * 3
    if limits.max_reference_bytes is not None and size_bytes > limits.max_reference_bytes + 2:
        raise RequestError(
            f"The picture has about {size_bytes} bytes; this model takes {limits.max_reference_bytes}.",
            param=where,
            code="image_too_large",
        )
    mime = _mime(part)
    if not (media_types.sniff(part.data.head(media_types.HEAD_BYTES)) or "").startswith("image/"):
        raise RequestError("This is not a picture, or not one we know.", param=where, code="invalid_image")
    if limits.reference_types and mime not in limits.reference_types:
        raise RequestError(
            f"The picture is {mime}; this model takes {', '.join(limits.reference_types)}.",
            param=where,
            code="unsupported_image_type",
        )


def _mime(part: MediaPart) -> str:
    head = part.data.head(media_types.HEAD_BYTES) if part.data is not None else b""
    return media_types.sniff(head) or part.mime or "application/octet-stream"


def _reference(part: MediaPart, forms: tuple[str, ...], default_where: str) -> dict[str, Any]:
    """`ref` in the first form that fits, and its `mime`."""
    mime = _mime(part)
    for form in forms:
        if form == "url" and part.url is not None:
            return {"ref": part.url, "mime": part.mime}
        if form == "url" or part.data is None:
            continue
        if form == "data_uri":
            return {"ref": Slice(part.data.raw, prefix=f"data:{mime};base64,".encode()), "mime": mime}
        if form == "file":
            extension = media_types.EXTENSIONS.get(mime, "bin")
            return {"ref": FormFile("", part.filename or f"image.{extension}", mime, part.data), "mime": mime}
        return {"ref": part.data, "mime": mime}
    raise RequestError(
        "This model takes pictures only by public address, not as data."
        if forms == ("url",)
        else "This model cannot be given this picture by address.",
        param=part.where or default_where,
        code="unsupported_image_input",
    )


def files_of(files: Mapping[str, Node], inputs: Mapping[str, Any]) -> tuple[FormFile, ...]:
    """The files of a multipart call, each under the field that the profile names."""
    found = []
    for name, node in files.items():
        value = node.render(inputs)
        items = value if isinstance(value, list) else [] if value is ABSENT else [value]
        found += [FormFile(name, item.filename, item.mime, item.data) for item in items]
    return tuple(found)
