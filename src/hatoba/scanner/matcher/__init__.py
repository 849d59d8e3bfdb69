"""From an index report to a vulnerability report."""
