"""Endpoints and EndpointSlices: which addresses stand behind a Service.

`addresses` decides (pure), `controller` reads and writes. Services without a selector are left to
whoever manages their addresses by hand.
"""
