"""Names of the changes that may cure a refusal: `error.repair` gives them, `request.build` obeys them."""

from typing import Final

SCHEMA_FORM: Final = "schema_form"  # declare tools and the answer's schema in the other of the two fields
SENTINEL_BASE64: Final = "sentinel_base64"  # write the sentinel signature base64-encoded
NO_LOGPROBS: Final = "no_logprobs"  # most models refuse to tell them
RESIGN: Final = "resign"  # a signature is missing or foreign: replace every one by the sentinel
