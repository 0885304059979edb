"""Google's own dialect: `generateContent` and its siblings."""
