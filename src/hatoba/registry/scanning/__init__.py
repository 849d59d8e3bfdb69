"""Security scanning: hands what was pushed to the scanner, and shows what it found."""
