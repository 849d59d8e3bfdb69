"""The rules of single built-in kinds, one module per family, and the table of them."""
