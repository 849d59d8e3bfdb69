"""The client, the same for both sides: `wrk` where it can (GET), else a lean one of our own."""
