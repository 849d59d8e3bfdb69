"""People, organizations, teams, robots, and what they sign in with."""
