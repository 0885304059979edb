"""What is known of the programs that ask: what they show, what they ask around a conversation, and
whether they ask again without a word."""
