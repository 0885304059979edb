"""What `defaults.images` allows of pictures that clients name by address."""

from pathlib import Path
from typing import Any

import openai
import pytest

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
