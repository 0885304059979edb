"""What chat UIs ask around a conversation, told by the exact openings of their prompts.

They ask the chat's own model for a title, for tags, for what to ask next: of a model that draws, each would
buy a picture. Data: a closed table, one row an opening.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final

from proxy.types import Message, Part, TextPart

_HEAD: Final = 400  # characters; every opening is shorter
_DATA = re.compile(r"data:image/[\w.+-]{1,40};base64,[A-Za-z0-9+/=]*")
_TASK: Final = "### Task:\n"

# (where it was seen, the chore, how its prompt begins). Without a version: in the program's public sources.
_ROWS: tuple[tuple[str, str, str], ...] = (
    ("Open WebUI 0.12.4", "title", _TASK + "Generate a concise title summarizing the chat history."),
    ("Open WebUI 0.12.4", "tags", _TASK + "Generate 1-3 broad tags categorizing the main themes"),
    ("Open WebUI 0.12.4", "follow_ups", _TASK + "Predict 3-5 useful messages this user might"),
    ("Open WebUI 0.12.4", "queries", _TASK + "Analyze the chat history to determine the necessity of"),
    ("Open WebUI 0.12.4", "autocomplete", _TASK + "You are an autocompletion system. Continue the"),
    ("Open WebUI 0.12.4", "picture_prompt", _TASK + "Generate a detailed prompt for am image"),
    ("Open WebUI 0.12.4", "emoji", "Your task is to reflect the speaker's likely facial expression"),
    ("Open WebUI, earlier", "title", _TASK + "Generate a concise, 3-5 word title"),
    ("Open WebUI, earlier", "title", "Create a concise, 3-5 word title with an emoji as a title for"),
    ("Open WebUI, earlier", "follow_ups", _TASK + "Suggest 3-5 relevant follow-up questions"),
    ("LibreChat", "title", "Provide a concise, 5-word-or-less title for the conversation, using"),
    ("LibreChat", "title", "Analyze this conversation and provide:\n1. The detected language"),
    ("LibreChat, earlier", "title", "Please generate a concise, 5-word-or-less title for the"),
    ("LobeChat", "title", "You are a professional conversation summarizer. Generate a concise title"),
    ("LobeChat, earlier", "title", "你是一名擅长会话的助理，你需要将用户的会话总结为 10 个字以内的标题"),
    ("LobeChat", "summary", "You're an assistant who's good at extracting key takeaways from"),
    ("big-AGI", "title", "You are an AI conversation titles assistant who specializes in"),
    ("Cherry Studio", "title", "Summarize the conversation into a title in "),
    ("NextChat", "title", "Please generate a four to five word title summarizing our conversation"),
    ("opencode 1.18.33", "title", "You are a title generator. You output ONLY a thread title."),
    ("Qwen Code 0.15.10", "memory", "You are now acting as the managed memory extraction subagent for an AI"),
    ("NextChat", "summary", "Summarize the discussion briefly in 200 words or less to use as a prompt"),
)
_OPENINGS = tuple(opening for _, _, opening in _ROWS)


def of(messages: tuple[Message, ...]) -> str | None:
    """Which chore the conversation is. Its prompt stands in the last message, where no picture may stand
    beside it, or in the system's text at the beginning."""
    if not messages:
        return None
    first, last = messages[0], messages[-1]
    found = _name(last) if last.role != "assistant" else None
    return found or (_name(first) if first.role == "system" and first is not last else None)


def _name(message: Message) -> str | None:
    begins = ""
    for part in message.parts:
        if type(part) is not TextPart:
            return None
        begins = begins or part.text[:_HEAD].lstrip()
    if not begins.startswith(_OPENINGS):
        return None
    return next(name for _, name, opening in _ROWS if begins.startswith(opening))


def without_data(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """The messages without the pictures that are quoted in their text: megabytes of base64, read as words."""
    return tuple(_without_data(message) for message in messages)


def _without_data(message: Message) -> Message:
    return replace(message, parts=tuple(map(_in_words, message.parts)))


def _in_words(part: Part) -> Part:
    if type(part) is not TextPart or ";base64," not in part.text:
        return part
    return replace(part, text=_DATA.sub("", part.text))
