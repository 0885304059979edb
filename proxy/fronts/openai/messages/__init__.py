"""Messages, of which a chat is made: how they, their content and their signatures are read."""
