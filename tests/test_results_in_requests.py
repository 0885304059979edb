"""Results of tools are parts of what a user sends: their pictures are found, their texts are no prompt."""

from __future__ import annotations

from proxy.serve import bridge
from proxy.types import ChatRequest, MediaPart, Message, ResultPart, Slice, TextPart, iter_media

SHOWN = MediaPart("image", Slice(b"iVBO"))
MADE = MediaPart("image", Slice(b"iVB1"))
RESULT = ResultPart("a", None, (TextPart("12C"), MADE))


def test_pictures_inside_results_are_found_in_their_order() -> None:
    request = ChatRequest("m", (Message("user", (SHOWN, RESULT)), Message("assistant", (SHOWN,))))
    assert [part is MADE for part in iter_media(request)] == [False, True, False]


def test_a_picture_is_drawn_from_what_the_user_said_not_from_what_a_tool_returned() -> None:
    words = Message("user", (RESULT, TextPart("Draw a cat")))
    request = ChatRequest("m", (Message("user", (TextPart("Hi"),)), words, Message("user", (RESULT,))))
    drawn = bridge.to_image(request)
    assert (drawn.prompt, drawn.references) == ("Draw a cat", ())
