"""The clair-app pod: what is in an image, and which of it is known to be vulnerable.

It answers the HTTP API of Clair v4. `indexer` takes layers apart, `matcher` compares what they
hold with advisories, `updaters` keep the advisories fresh; `api` is the edge and `app` puts it
all together. Reached by the registry over HTTP alone.
"""
