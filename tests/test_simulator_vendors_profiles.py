"""The strict vendors take what the shipped profiles send: each was written without looking at the other."""

from uuid import uuid4

import pytest

from proxy.codec import jsonio
from proxy.simulators.exchange import Exchange, Log
from proxy.simulators.vendors import MAKERS, pairs
from tests.declared import asked, by_data, by_url, target, wire
from tests.simulated_vendors import jwt, signed

SIZES = (
    "auto",
    "256x256",
    "1024x1024",
    "1024x1536",
    "1792x1024",
    "1920x1080",
    "3840x2160",
    "16:9",
    "21:9",
    "2K",
    "4K",
    "16:9@4K",
)
# (vendor, model, surface, references it takes)
MODELS = [
    ("jlike", "nano-banana", "image", ()),
    ("jlike", "nano-banana-2", "image", ()),
    ("jlike", "nano-banana-pro", "image", ()),
    ("jlike", "wan2.7-t2i-plus", "wan", ()),
    ("evolink", "gemini-3-pro-image-preview", None, (by_url(),)),
    ("grsai", "nano-banana-fast", None, (by_url(), by_data())),
    ("grsai", "nano-banana-2", None, (by_url(), by_data())),
    ("grsai", "nano-banana-2-4k-cl", None, (by_url(),)),
    ("grsai", "nano-banana-pro-vip", None, (by_url(),)),
    ("grsai", "gpt-image-2", None, (by_url(), by_data())),
    ("grsai", "gpt-image-2-vip", None, (by_data(),)),
    ("dashscope", "wan2.7-image-pro", None, (by_url(), by_data())),
    ("dashscope", "wan2.7-image", None, (by_url(), by_data())),
    ("dashscope", "wan2.5-t2i-preview", None, ()),
    ("dashscope", "wan2.2-t2i-plus", None, ()),
    ("fal", "fal-ai/nano-banana", None, (by_url(), by_data())),
    ("replicate", "google/nano-banana", None, (by_url(), by_data())),
    ("bfl", "flux-2-pro", None, (by_url(), by_data())),
    ("seedream", "doubao-seedream-4-0-250828", None, (by_url(), by_data())),
    ("kie", "nano-banana-2-lite", None, (by_url(),)),
    ("kie", "google/nano-banana", None, ()),
    ("kie", "nano-banana-pro", None, (by_url(), by_url())),
    ("midjourney-proxy", "any", None, (by_data(), by_data())),
    ("kling", "kling-v2-1", None, (by_data(),)),
    ("liblib", "star-3", None, (by_url(),)),
    ("runware", "runware:101@1", None, (by_url(), by_data())),
    ("minimax", "image-01", None, (by_url(),)),
    ("minimax", "image-01-live", None, (by_data(),)),
    ("modelscope", "Qwen/Qwen-Image", None, (by_data(),)),
    ("comfyui", "x.safetensors", None, ()),
    ("baidu", "v2", None, (by_data(),)),
]


@pytest.mark.parametrize(
    ("vendor", "model", "surface", "takes"), MODELS, ids=[f"{m[0]} {m[1]}" for m in MODELS]
)
def test_what_a_profile_sends_is_taken(vendor, model, surface, takes):
    base, make = MAKERS[vendor]
    handle = make(Log())
    for size in SIZES:
        for references in ((), takes):
            request = asked(size=size, references=references)
            call = wire(vendor, surface).submit(request, target(vendor, model, surface), order=str(uuid4()))
            own = {"fal": "Key k", "kling": f"Bearer {jwt('k')}"}.get(vendor, "Bearer k")
            keys = {"authorization": own, "x-key": "k", "mj-api-secret": "k", "host": "h"}
            query = signed(f"/liblib{call.path}", "k") if vendor == "liblib" else {}
            query |= {"access_token": pairs.token("k")} if vendor == "baidu" else {}
            headers = keys | {name.lower(): value for name, value in call.headers.items()}
            sent = b"".join(jsonio.dumps(call.body))
            exchange = Exchange(vendor, call.method, base + call.path, query, headers, sent)
            reply = handle(exchange)
            assert reply.status in (200, 201), (size, sent, exchange.notes)
            assert len(exchange.notes.get("references", ())) == len(references)
