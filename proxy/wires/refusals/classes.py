"""The classes of refusals in words that most vendors share: those of OpenAI, of its relays and of its copies.

One table by the refusal's own words, one by what its message says, one by its status; the first that knows
decides. Sources: vendors.md 3 (new-api, one-api), the error pages of OpenAI, OpenRouter, DeepSeek and
Moonshot, vLLM, xAI.
"""

from __future__ import annotations

import re

from proxy.errors import ErrorClass
from proxy.wires.refusals.report import ToldRefusal

# Without case and without what stands between the words: `InvalidApiKey` is `invalid_api_key`.
_CODES: dict[str, ErrorClass] = {
    code.replace("_", ""): error_class
    for error_class, codes in {
        ErrorClass.QUOTA: (
            "insufficient_user_quota", "pre_consume_token_quota_failed", "insufficient_quota",
            "insufficient_balance", "exceeded_current_quota_error", "billing_hard_limit_reached",
            "billing_not_active", "quota_exceeded", "arrearage", "insufficient_credits",
            "account_overdue_error",
        ),
        ErrorClass.AUTH: (
            "invalid_api_key", "authentication_error", "invalid_authentication_error", "permission_denied",
            "account_deactivated", "api_key_invalid", "incorrect_api_key",
        ),
        ErrorClass.RATE_LIMITED: (
            "rate_limit_exceeded", "rate_limit_error", "rate_limit_reached_error", "too_many_requests",
            "resource_exhausted",
        ),
        ErrorClass.NOT_FOUND: ("model_not_found", "model_not_exist", "not_found_error"),
        ErrorClass.UNAVAILABLE: ("get_channel_failed", "no_available_channel", "channel_no_available_key"),
        ErrorClass.OVERLOADED: (
            "engine_overloaded_error", "overloaded_error", "server_overloaded", "overloaded",
        ),
        ErrorClass.BLOCKED: (
            "content_policy_violation", "content_filter", "moderation_blocked", "sensitive_words_detected",
            "data_inspection_failed", "prompt_blocked", "prohibited_content",
        ),
        ErrorClass.BAD_REQUEST: ("context_length_exceeded", "string_above_max_length"),
    }.items()
    for code in codes
}  # fmt: skip
_BETWEEN = str.maketrans("", "", "_-.: ")

CONTEXT = re.compile(
    r"maximum (?:context|prompt) length|context (?:length|window|size) (?:exceed|of)"
    r"|exceeds? the (?:available )?context|context_length_exceeded"
    r"|input token count.{0,200}exceeds|exceeds the maximum number of tokens"
    r"|(?:prompt|context|input) is too long|context too long|Prompt ?超长"
    r"|exceed (?:context limit|max message tokens)|exceeded model token limit"
    r"|input tokens exceed the configured limit|longer than the model's context"
    r"|reduce the length of the (?:messages|prompt)"
    r"|inputs. tokens \+ .max_new_tokens|range of input length should be",
    re.I | re.S,
)
# An empty account. Google's `You exceeded your current quota, please check your billing details` is not in
# it: it says that of a busy one too.
QUOTA = re.compile(
    r"insufficient (?:\w{1,40} )?(?:quota|balance|credit)|quota is not enough"
    r"|(?:额度|余额|积分)(?:不足|已?(?:用[尽完]|耗尽))|欠费"
    r"|(?:balance|credits?|quota) (?:is |are |has been |have been )?"
    r"(?:exhausted|depleted|used up|insufficient|not sufficient|not enough|too low|overdue)"
    r"|(?:exhausted|not enough|run out of|out of|overdue) (?:\w{1,40} )?(?:balance|credits?)\b"
    r"|used all (?:\w{1,20} ){0,2}credits|(?:reached|exceeded|hit) (?:\w{1,20} ){0,3}spending limit"
    r"|spending limit (?:\w{1,20} ){0,2}(?:reached|exceeded)"
    r"|BILLING_DISABLED|(?:enable|requires) billing|billing (?:is|to be|account)",
    re.I,
)
# What a vendor says of our key stands at the head; further on it may be a client's own words.
KEY = re.compile(
    r".{0,40}(?:(?:incorrect|invalid) api[ _-]?key|api_key_invalid"
    r"|api[ _-]?key (?:provided )?(?:is |was |has |has been )?"
    r"(?:not valid|not found|invalid|incorrect|expired|revoked|disabled|deleted)"
    r"|\bunauthori[sz]ed\b|authentication (?:failed|fails)"
    r"|(?:access|auth|bearer) token (?:is |has |has been )?(?:not valid|invalid|expired|revoked)"
    r"|security token .{0,40}(?:invalid|expired)|login fail"
    r"|无效的 ?(?:令牌|密钥|api ?(?:密钥|key))|令牌.{0,8}(?:过期|不可用|无效))",
    re.I | re.S,
)

_MESSAGES: tuple[tuple[re.Pattern[str], ErrorClass], ...] = (
    (CONTEXT, ErrorClass.BAD_REQUEST),
    (
        re.compile(
            r"not a valid model|model \S{1,200} (?:does not exist|(?:is )?not found)|no such model"
            r"|unknown model",
            re.I,
        ),
        ErrorClass.NOT_FOUND,
    ),
    (
        re.compile(r"no (?:available )?channel|no available (?:account|key)|无可用的?渠道", re.I),
        ErrorClass.UNAVAILABLE,
    ),
    (KEY, ErrorClass.AUTH),
    (
        re.compile(
            r"content (?:violates|management policy)|safety_check|usage guidelines|prohibited_content"
            r"|input was flagged|content exists risk|内容违规|敏感内容"
            r"|(?<![-\w])sensitive (?:content|information|words)|inappropriate content",
            re.I,
        ),
        ErrorClass.BLOCKED,
    ),
)

# Of an empty account many a vendor's code says that it lets nobody in, or too many, or nothing.
_NO_MORE_THAN_MONEY = frozenset({ErrorClass.AUTH, ErrorClass.RATE_LIMITED, None})
# What is quoted where a client's mistake is told are its own words; an apostrophe in a word quotes nothing.
_OF_MISTAKES = frozenset({400, 404, 422})
_QUOTED = re.compile(r"(?<!\w)(?:\"[^\"]{1,4096}\"|`[^`]{1,4096}`|'(?:[^']|(?<=\w)'(?=\w)){1,4096}')")

_STATUSES: dict[int, ErrorClass] = {
    401: ErrorClass.AUTH,
    402: ErrorClass.QUOTA,
    403: ErrorClass.AUTH,
    404: ErrorClass.NOT_FOUND,
    405: ErrorClass.NOT_FOUND,
    408: ErrorClass.TIMEOUT,
    429: ErrorClass.RATE_LIMITED,
    451: ErrorClass.BLOCKED,
    503: ErrorClass.OVERLOADED,
    504: ErrorClass.TIMEOUT,
    520: ErrorClass.UNAVAILABLE,
    521: ErrorClass.UNAVAILABLE,
    522: ErrorClass.UNAVAILABLE,
    523: ErrorClass.UNAVAILABLE,
    524: ErrorClass.TIMEOUT,
    529: ErrorClass.OVERLOADED,
}


def of_report(report: ToldRefusal) -> ErrorClass:
    if is_of_a_gateway(report):
        return ErrorClass.UNAVAILABLE
    return of_words(report) or of_status(report.http or report.told)


def of_words(report: ToldRefusal) -> ErrorClass | None:
    """By what the vendor says; None where that names no class."""
    codes = (_CODES.get(word.lower().translate(_BETWEEN)) for word in report.words)
    known = next((code for code in codes if code is not None), None)
    if known is None:
        known = next((found for pattern, found in _MESSAGES if _says(pattern, report)), None)
    return ErrorClass.QUOTA if known in _NO_MORE_THAN_MONEY and _tells_of_money(report) else known


def of_status(status: int | None) -> ErrorClass:
    if status is None:
        return ErrorClass.INTERNAL
    known = _STATUSES.get(status)
    return known or (ErrorClass.BAD_REQUEST if 400 <= status < 500 else ErrorClass.INTERNAL)


def is_of_a_gateway(report: ToldRefusal) -> bool:
    """A firewall's page says nothing of our key, and a page instead of a busy vendor nothing of its load."""
    return report.is_page and report.http in (403, 503)


def _tells_of_money(report: ToldRefusal) -> bool:
    return any(map(QUOTA.search, (_of_us(report), *report.notes)))


def _says(pattern: re.Pattern[str], report: ToldRefusal) -> bool:
    found = KEY.match(_of_us(report)) if pattern is KEY else pattern.search(report.message)
    return found is not None


def _of_us(report: ToldRefusal) -> str:
    """What the message may tell of the operator's account."""
    is_mistake = (report.http or report.told) in _OF_MISTAKES
    return _QUOTED.sub(" ", report.message) if is_mistake else report.message
