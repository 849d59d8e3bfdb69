"""The loops that make what exists agree with what was asked for.

Each controller reads shared caches that watches keep current, decides in pure functions, and
writes through `cluster.objects.Objects` like anybody else. All of them are level-triggered: an
event only says which object to look at again, and an object in its wanted state causes no writes.
"""
