"""Money: what a try costs, the rows that tell of it, and who may read them."""
