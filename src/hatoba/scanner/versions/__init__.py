"""How package managers order versions: pure comparison, one module per package manager."""
