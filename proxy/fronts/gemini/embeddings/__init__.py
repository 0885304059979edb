"""`embedContent` and `batchEmbedContents`."""
