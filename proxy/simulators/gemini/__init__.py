"""The Gemini API (generativelanguage, v1beta) as the reference describes it, strict as Google is.

`proto.py` refuses what the service's JSON parser refuses, `rules.py` and `generation.py` what the models do,
`signatures.py` watches thought signatures, `answer.py` decides what is said and `render.py` writes it.
"""

from proxy.simulators.gemini.app import make

__all__ = ["make"]
