"""The edge `/v2`: OCI distribution. HTTP in, calls to the content room, HTTP out.

Spec: distribution-spec 1.1. A request passes `app` (route, token, errors), then one handler.
"""
