"""`generateContent`, `streamGenerateContent` and `countTokens`."""
