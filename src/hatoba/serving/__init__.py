"""HTTP serving for every part: listeners, TLS, pre-forked workers, drain, health, metrics.

A part hands over an ASGI application and listeners; what the application does is unknown here.
"""
