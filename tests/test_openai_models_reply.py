"""`/v1/models` is OpenAI's object with more beside it."""

import orjson
from openai.types import Model as SdkModel

from proxy.fronts.dialects import ListedModel
from proxy.fronts.openai import models_reply
from proxy.types import Abilities

NANO = ListedModel("nano-banana", "google", 1, extra={"modalities": ["image"], "id": "never"})
PLAIN = ListedModel("flash", "dragoman")
NANO_BODY = {
    "id": "nano-banana",
    "object": "model",
    "created": 1,
    "owned_by": "google",
    "modalities": ["image"],
}


def test_one_model() -> None:
    body = orjson.loads(models_reply.single(NANO))
    assert body == NANO_BODY
    SdkModel.model_validate(body)


def test_the_list() -> None:
    assert orjson.loads(models_reply.listed([NANO, PLAIN], {})) == {
        "object": "list",
        "data": [NANO_BODY, {"id": "flash", "object": "model", "created": 0, "owned_by": "dragoman"}],
    }


def test_what_a_model_can_do_is_told_in_openrouters_words() -> None:
    able = Abilities(("text", "image"), ("image",), ("1K", "2K"), ("1:1", "16:9"))
    body = orjson.loads(models_reply.single(ListedModel("fox", "lan", abilities=able)))
    assert body == {
        "id": "fox",
        "object": "model",
        "created": 0,
        "owned_by": "lan",
        "architecture": {"input_modalities": ["text", "image"], "output_modalities": ["image"]},
        "image_sizes": ["1K", "2K"],
        "aspect_ratios": ["1:1", "16:9"],
    }
    SdkModel.model_validate(body)
