"""What clients of Anthropic's Messages speak."""
