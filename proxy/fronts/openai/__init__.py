"""OpenAI's dialects: what they share stands here, each endpoint in a folder of its own."""
