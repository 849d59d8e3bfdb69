"""Who is asking, and what they may do: identities, scopes, roles and registry tokens."""
