"""When a registry is looked at: informers feed a queue, workers take from it, one per registry.

Knows nothing of registries: keys are (namespace, name), work is a function.
"""
