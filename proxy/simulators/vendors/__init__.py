"""The vendors that sell pictures, one file per family, written from their documents and vendors.md alone.

`house.py` holds what they do alike, `files.py` is the file host their URLs point to.
"""

from collections.abc import Callable

from proxy.simulators.exchange import Log
from proxy.simulators.serving import Handler
from proxy.simulators.vendors import (
    baidu,
    bfl,
    chat_relay,
    comfyui,
    dashscope,
    evolink,
    fal,
    files,
    grsai,
    jlike,
    kie,
    kling,
    liblib,
    midjourney,
    minimax,
    modelscope,
    openai_images,
    replicate,
    runware,
    seedream,
    stability,
)

# Each by its mount, with what a client appends to it in its base URL.
MAKERS: dict[str, tuple[str, Callable[[Log], Handler]]] = {
    "jlike": ("/api/v1/openapi", jlike.make),
    "evolink": ("", evolink.make),
    "aigcbest": ("/v1", chat_relay.make_aigcbest),
    "grsai": ("", grsai.make),
    "xiaotian": ("/v1", chat_relay.make_xiaotian),
    "dashscope": ("", dashscope.make),
    "fal": ("", fal.make),
    "replicate": ("", replicate.make),
    "bfl": ("", bfl.make),
    "kie": ("", kie.make),
    "midjourney-proxy": ("", midjourney.make),
    "seedream": ("", seedream.make),
    "kling": ("", kling.make),
    "liblib": ("", liblib.make),
    "runware": ("", runware.make),
    "stability": ("", stability.make),
    "comfyui": ("", comfyui.make),
    "minimax": ("", minimax.make),
    "modelscope": ("", modelscope.make),
    "baidu": ("", baidu.make),
    "openai-images": ("/v1", openai_images.make),
    "files": ("", files.make),
}
