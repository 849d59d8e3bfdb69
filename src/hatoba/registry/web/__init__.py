"""The edge of browsers and image clients: sessions, CSRF, and the token service /v2/auth."""
