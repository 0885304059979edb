"""What is known of the programs that ask: what they show, and what they ask around a conversation."""
