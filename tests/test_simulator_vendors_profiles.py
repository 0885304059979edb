"""The strict vendors take what the shipped profiles send: each was written without looking at the other."""

import pytest

from proxy.codec import jsonio
from proxy.simulators.exchange import Exchange, Log
from proxy.simulators.vendors import MAKERS
from tests.declared import asked, by_data, by_url, submit

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
]


@pytest.mark.parametrize(
    ("vendor", "model", "surface", "takes"), MODELS, ids=[f"{m[0]} {m[1]}" for m in MODELS]
)
def test_what_a_profile_sends_is_taken(vendor, model, surface, takes):
    base, make = MAKERS[vendor]
    handle = make(Log())
    for size in SIZES:
        for references in ((), takes):
            call = submit(vendor, model, asked(size=size, references=references), surface)
            keys = {"authorization": "Key k" if vendor == "fal" else "Bearer k", "x-key": "k", "host": "h"}
            headers = keys | {name.lower(): value for name, value in call.headers.items()}
            sent = b"".join(jsonio.dumps(call.body))
            exchange = Exchange(vendor, call.method, base + call.path, {}, headers, sent)
            reply = handle(exchange)
            assert reply.status in (200, 201), (size, sent, exchange.notes)
            assert len(exchange.notes.get("references", ())) == len(references)
