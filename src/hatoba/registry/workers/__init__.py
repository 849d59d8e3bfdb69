"""The edge of background work: one file per duty, all run by one process of each pod."""
