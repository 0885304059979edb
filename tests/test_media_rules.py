"""What `defaults.images` allows of pictures that clients name by address, and how often they are fetched."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import openai
import pytest

from proxy.config.models import Defaults, Images
from proxy.errors import RequestError
from proxy.fronts.base import Asked
from proxy.keys import ClientKey
from proxy.serve import media
from proxy.types import ImageRequest, MediaPart, Slice, Target
from proxy.upstream import Account
from tests.gateway import FILE, open_gateway


def addresses(count: int) -> Any:
    return [
        {"type": "image_url", "image_url": {"url": f"https://pictures.example/{number}.png"}}
        for number in range(count)
    ]


@pytest.mark.parametrize(
    ("rules", "param", "said"),
    [
        ("fetch: false", "messages[0].content[0].image_url.url", "not fetched from addresses here"),
        ("max_count: 2", "messages[0].content[2].image_url.url", "At most 2 pictures are fetched"),
    ],
)
def test_pictures_by_address_are_refused_as_the_file_says(
    tmp_path: Path, rules: str, param: str, said: str
) -> None:
    file = FILE.replace("defaults:\n", f"defaults:\n  images: {{{rules}}}\n")
    with open_gateway(tmp_path, file) as gateway, pytest.raises(openai.BadRequestError) as caught:
        gateway.client().chat.completions.create(
            model="gemini-flash", messages=[{"role": "user", "content": addresses(3)}]
        )
    assert caught.value.param == param
    assert said in caught.value.message


class Fetcher:
    """Stands where the fetcher stands: the picture called `gone` cannot be had."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def fetch_all(self, wanted: list[tuple[str, str]], *, limit: int) -> Any:
        self.asked += [url for url, _ in wanted]
        for url, where in wanted:
            if "gone" in url:
                raise RequestError("gone", param=where, code="invalid_image_url")
        return [SimpleNamespace(data=Slice(b"AAAA"), mime="image/png") for _ in wanted]


class Reads:
    """A wire that takes pictures inline."""

    def keeps_url(self, url: str, target: Target) -> bool:
        return False

    def takes_data(self, target: Target) -> bool:
        return True


def request_of(*names: str) -> ImageRequest:
    parts = (
        MediaPart("image", url=f"https://x.example/{name}", where=f"image[{at}]")
        for at, name in enumerate(names)
    )
    return ImageRequest("m", "Redder", references=tuple(parts))


async def twice(request: ImageRequest) -> tuple[list[Any], list[str]]:
    """What two targets of one request get, and what was fetched for them."""
    fetcher = Fetcher()
    files = SimpleNamespace(is_stored=lambda url: False, identify=lambda url: None)
    house: Any = SimpleNamespace(
        services=SimpleNamespace(files=files, fetcher=fetcher),
        plan=SimpleNamespace(config=SimpleNamespace(defaults=Defaults(images=Images(max_count=2)))),
    )
    asked, got = Asked("req_1", ClientKey("app")), []
    for provider in ("first", "second"):
        try:
            target, account = Target(provider, "m"), Account(provider, "https://vendor.example")
            got.append(await media.inline_references(house, request, asked, Reads(), target, account))
        except RequestError as error:
            got.append((error.code, error.param))
    return got, fetcher.asked


@pytest.mark.anyio
async def test_as_many_as_may_be_are_fetched_once_for_all_targets_of_a_request() -> None:
    got, fetched = await twice(request_of("1", "2", "1"))
    assert [[part.url for part in request.references] for request in got] == [[None] * 3] * 2
    assert fetched == ["https://x.example/1", "https://x.example/2"]


@pytest.mark.anyio
async def test_a_picture_that_could_not_be_had_is_not_waited_for_again() -> None:
    got, fetched = await twice(request_of("1", "gone"))
    assert got == [("invalid_image_url", "image[1]")] * 2
    assert fetched == ["https://x.example/1", "https://x.example/gone"]
