"""The lowest floor: errors, values and small rules that everything else stands on.

Standard library only. Nothing here does I/O except the clock and the random source, and both
are handed to their users as collaborators.
"""
