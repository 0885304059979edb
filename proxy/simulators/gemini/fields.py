"""The request messages of the Gemini API v1beta as data: which fields exist and what may stand in them.

Source: the discovery document, revision 20260717, and the reference (gemini.md 0), which adds
`labels`, `continuationToken`, `audioTranscriptionConfig` and the per-part media resolution.

A type is a word: `string bool int32 int64 double bytes duration any struct`, a message, `enum NAME`, `[T]`
for a repeated field and `{T}` for a map with string keys.
"""

from __future__ import annotations

_ENUMS = {
    "Type": "TYPE_UNSPECIFIED STRING NUMBER INTEGER BOOLEAN ARRAY OBJECT NULL",
    "Mode": "MODE_UNSPECIFIED AUTO ANY NONE VALIDATED",
    "ThinkingLevel": "THINKING_LEVEL_UNSPECIFIED MINIMAL LOW MEDIUM HIGH",
    "Modality": "MODALITY_UNSPECIFIED TEXT IMAGE AUDIO",
    "MediaResolution": (
        "MEDIA_RESOLUTION_UNSPECIFIED MEDIA_RESOLUTION_LOW MEDIA_RESOLUTION_MEDIUM MEDIA_RESOLUTION_HIGH"
    ),
    # Only a part may ask for ULTRA_HIGH; the enum of generationConfig lacks it.
    "PartResolution": (
        "MEDIA_RESOLUTION_UNSPECIFIED MEDIA_RESOLUTION_LOW MEDIA_RESOLUTION_MEDIUM MEDIA_RESOLUTION_HIGH "
        "MEDIA_RESOLUTION_ULTRA_HIGH"
    ),
    "ServiceTier": "unspecified standard flex priority",
    "Outcome": "OUTCOME_UNSPECIFIED OUTCOME_OK OUTCOME_FAILED OUTCOME_DEADLINE_EXCEEDED",
    "Language": "LANGUAGE_UNSPECIFIED PYTHON",
    "Behavior": "UNSPECIFIED BLOCKING NON_BLOCKING",
    "Scheduling": "SCHEDULING_UNSPECIFIED SILENT WHEN_IDLE INTERRUPT",
    "Environment": ("ENVIRONMENT_UNSPECIFIED ENVIRONMENT_BROWSER ENVIRONMENT_MOBILE ENVIRONMENT_DESKTOP"),
    "SafetyPolicy": (
        "SAFETY_POLICY_UNSPECIFIED FINANCIAL_TRANSACTIONS SENSITIVE_DATA_MODIFICATION COMMUNICATION_TOOL "
        "ACCOUNT_CREATION DATA_MODIFICATION USER_CONSENT_MANAGEMENT LEGAL_TERMS_AND_AGREEMENTS"
    ),
    "DynamicMode": "MODE_UNSPECIFIED MODE_DYNAMIC",
    "ToolType": (
        "TOOL_TYPE_UNSPECIFIED GOOGLE_SEARCH_WEB GOOGLE_SEARCH_IMAGE URL_CONTEXT GOOGLE_MAPS FILE_SEARCH"
    ),
    "HarmCategory": (
        "HARM_CATEGORY_UNSPECIFIED HARM_CATEGORY_DEROGATORY HARM_CATEGORY_TOXICITY HARM_CATEGORY_VIOLENCE "
        "HARM_CATEGORY_SEXUAL HARM_CATEGORY_MEDICAL HARM_CATEGORY_DANGEROUS HARM_CATEGORY_HARASSMENT "
        "HARM_CATEGORY_HATE_SPEECH HARM_CATEGORY_SEXUALLY_EXPLICIT HARM_CATEGORY_DANGEROUS_CONTENT "
        "HARM_CATEGORY_CIVIC_INTEGRITY HARM_CATEGORY_JAILBREAK"
    ),
    "HarmBlockThreshold": (
        "HARM_BLOCK_THRESHOLD_UNSPECIFIED BLOCK_LOW_AND_ABOVE BLOCK_MEDIUM_AND_ABOVE BLOCK_ONLY_HIGH "
        "BLOCK_NONE OFF"
    ),
    "Delivery": "DELIVERY_UNSPECIFIED INLINE URI",
    "AudioMime": (
        "MIME_TYPE_UNSPECIFIED AUDIO_MP3 AUDIO_OGG_OPUS AUDIO_L16 AUDIO_WAV AUDIO_ALAW AUDIO_MULAW"
    ),
    "ImageMime": "MIME_TYPE_UNSPECIFIED IMAGE_JPEG",
    "TextMime": "MIME_TYPE_UNSPECIFIED APPLICATION_JSON TEXT_PLAIN",
    "AspectRatio": (
        "ASPECT_RATIO_UNSPECIFIED ASPECT_RATIO_ONE_BY_ONE ASPECT_RATIO_TWO_BY_THREE "
        "ASPECT_RATIO_THREE_BY_TWO ASPECT_RATIO_THREE_BY_FOUR ASPECT_RATIO_FOUR_BY_THREE "
        "ASPECT_RATIO_FOUR_BY_FIVE ASPECT_RATIO_FIVE_BY_FOUR ASPECT_RATIO_NINE_BY_SIXTEEN "
        "ASPECT_RATIO_SIXTEEN_BY_NINE ASPECT_RATIO_TWENTY_ONE_BY_NINE ASPECT_RATIO_ONE_BY_EIGHT "
        "ASPECT_RATIO_EIGHT_BY_ONE ASPECT_RATIO_ONE_BY_FOUR ASPECT_RATIO_FOUR_BY_ONE"
    ),
    "ImageSize": (
        "IMAGE_SIZE_UNSPECIFIED IMAGE_SIZE_FIVE_TWELVE IMAGE_SIZE_ONE_K IMAGE_SIZE_TWO_K IMAGE_SIZE_FOUR_K"
    ),
}
ENUMS: dict[str, tuple[str, ...]] = {name: tuple(words.split()) for name, words in _ENUMS.items()}

_MESSAGES = {
    "GenerateContentRequest": """
        cachedContent string, contents [Content], generationConfig GenerationConfig, model string,
        safetySettings [SafetySetting], serviceTier enum ServiceTier, store bool, systemInstruction Content,
        toolConfig ToolConfig, tools [Tool], labels {string}, continuationToken bytes""",
    "CountTokensRequest": "contents [Content], generateContentRequest GenerateContentRequest",
    "EmbedContentRequest": """
        content Content, model string, outputDimensionality int32, taskType string, title string""",
    "BatchEmbedContentsRequest": "requests [EmbedContentRequest]",
    "GenerationConfig": """
        candidateCount int32, enableAffectiveDialog bool, enableEnhancedCivicAnswers bool,
        frequencyPenalty double, imageConfig ImageConfig, logprobs int32, maxOutputTokens int32,
        mediaResolution enum MediaResolution, presencePenalty double, responseFormat ResponseFormatConfig,
        responseJsonSchema any, _responseJsonSchema any, responseLogprobs bool, responseMimeType string,
        responseModalities [enum Modality], responseSchema Schema, seed int32, speechConfig SpeechConfig,
        stopSequences [string], temperature double, thinkingConfig ThinkingConfig, topK int32, topP double,
        translationConfig TranslationConfig, audioTranscriptionConfig any""",
    "Content": "parts [Part], role string",
    "Part": """
        text string, inlineData Blob, fileData FileData, functionCall FunctionCall,
        functionResponse FunctionResponse, executableCode ExecutableCode,
        codeExecutionResult CodeExecutionResult, toolCall ToolCall, toolResponse ToolResponse, thought bool,
        thoughtSignature bytes, mediaResolution PartMediaResolution, partMetadata struct,
        videoMetadata VideoMetadata""",
    "Blob": "data bytes, mimeType string",
    "FileData": "fileUri string, mimeType string",
    "FunctionCall": "args struct, id string, name string",
    "FunctionResponse": """
        id string, name string, parts [FunctionResponsePart], response struct, scheduling enum Scheduling,
        willContinue bool""",
    "FunctionResponsePart": "inlineData Blob",
    "ExecutableCode": "code string, id string, language enum Language",
    "CodeExecutionResult": "id string, outcome enum Outcome, output string",
    "ToolCall": "args struct, id string, toolType enum ToolType",
    "ToolResponse": "id string, response struct, toolType enum ToolType",
    "PartMediaResolution": "level enum PartResolution, numTokens int32",
    "VideoMetadata": "endOffset duration, fps double, startOffset duration",
    "SafetySetting": "category enum HarmCategory, threshold enum HarmBlockThreshold",
    "Tool": """
        codeExecution CodeExecution, computerUse ComputerUse, fileSearch FileSearch,
        functionDeclarations [FunctionDeclaration], googleMaps GoogleMaps, googleSearch GoogleSearch,
        googleSearchRetrieval GoogleSearchRetrieval, mcpServers [McpServer], urlContext UrlContext""",
    "FunctionDeclaration": """
        behavior enum Behavior, description string, name string, parameters Schema, parametersJsonSchema any,
        response Schema, responseJsonSchema any""",
    "CodeExecution": "",
    "UrlContext": "",
    "WebSearch": "",
    "ImageSearch": "",
    "ComputerUse": """
        disabledSafetyPolicies [enum SafetyPolicy], enablePromptInjectionDetection bool,
        environment enum Environment, excludedPredefinedFunctions [string]""",
    "FileSearch": "fileSearchStoreNames [string], metadataFilter string, topK int32",
    "GoogleMaps": "enableWidget bool",
    "GoogleSearch": "searchTypes SearchTypes, timeRangeFilter Interval",
    "SearchTypes": "imageSearch ImageSearch, webSearch WebSearch",
    "Interval": "endTime string, startTime string",
    "GoogleSearchRetrieval": "dynamicRetrievalConfig DynamicRetrievalConfig",
    "DynamicRetrievalConfig": "dynamicThreshold double, mode enum DynamicMode",
    "McpServer": "name string, streamableHttpTransport StreamableHttpTransport",
    "StreamableHttpTransport": """
        headers {string}, sseReadTimeout duration, terminateOnClose bool, timeout duration, url string""",
    "ToolConfig": """
        functionCallingConfig FunctionCallingConfig, includeServerSideToolInvocations bool,
        retrievalConfig RetrievalConfig""",
    "FunctionCallingConfig": "allowedFunctionNames [string], mode enum Mode",
    "RetrievalConfig": "languageCode string, latLng LatLng",
    "LatLng": "latitude double, longitude double",
    "ThinkingConfig": "includeThoughts bool, thinkingBudget int32, thinkingLevel enum ThinkingLevel",
    "ImageConfig": "aspectRatio string, imageSize string",
    "SpeechConfig": """
        languageCode string, multiSpeakerVoiceConfig MultiSpeakerVoiceConfig, voiceConfig VoiceConfig""",
    "MultiSpeakerVoiceConfig": "speakerVoiceConfigs [SpeakerVoiceConfig]",
    "SpeakerVoiceConfig": "speaker string, voiceConfig VoiceConfig",
    "VoiceConfig": "prebuiltVoiceConfig PrebuiltVoiceConfig",
    "PrebuiltVoiceConfig": "voiceName string",
    "TranslationConfig": "echoTargetLanguage bool, targetLanguageCode string",
    "ResponseFormatConfig": ("audio AudioResponseFormat, image ImageResponseFormat, text TextResponseFormat"),
    "AudioResponseFormat": (
        "bitRate int32, delivery enum Delivery, mimeType enum AudioMime, sampleRate int32"
    ),
    "ImageResponseFormat": """
        aspectRatio enum AspectRatio, delivery enum Delivery, imageSize enum ImageSize,
        mimeType enum ImageMime""",
    "TextResponseFormat": "mimeType enum TextMime, schema any",
    "Schema": """
        type enum Type, format string, title string, description string, nullable bool, enum [string],
        items Schema, maxItems int64, minItems int64, properties {Schema}, required [string],
        minProperties int64, maxProperties int64, minimum double, maximum double, minLength int64,
        maxLength int64, pattern string, example any, anyOf [Schema], propertyOrdering [string],
        default any""",
}


def snake(name: str) -> str:
    """`functionDeclarations` as the service writes it in its messages: `function_declarations`."""
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)


MESSAGES: dict[str, dict[str, str]] = {
    message: {
        name: kind for name, _, kind in (field.strip().partition(" ") for field in text.split(",")) if name
    }
    for message, text in _MESSAGES.items()
}
# proto3 JSON takes the camelCase and the snake_case spelling of every name.
SPELLINGS: dict[str, dict[str, str]] = {
    message: {spelling: name for name in fields for spelling in (name, snake(name))}
    for message, fields in MESSAGES.items()
}
# At most one of these may be set; the whole is what Google calls the oneof `data`.
PART_DATA = (
    "text",
    "inlineData",
    "fileData",
    "functionCall",
    "functionResponse",
    "executableCode",
    "codeExecutionResult",
    "toolCall",
    "toolResponse",
)
