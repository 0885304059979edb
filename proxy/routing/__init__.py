"""From a model's name to the targets to try, and what follows a failure."""
