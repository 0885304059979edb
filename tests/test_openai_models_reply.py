"""`/v1/models` is OpenAI's object with more beside it."""

import orjson
from openai.types import Model as SdkModel

from proxy.fronts.openai import models_reply
from proxy.fronts.openai.models_reply import ListedModel

NANO = ListedModel("nano-banana", "google", 1, {"modalities": ["image"], "id": "never"})
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
    assert orjson.loads(models_reply.listed([NANO, PLAIN])) == {
        "object": "list",
        "data": [NANO_BODY, {"id": "flash", "object": "model", "created": 0, "owned_by": "dragoman"}],
    }
