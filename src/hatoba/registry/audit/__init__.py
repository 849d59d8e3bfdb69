"""Who did what: one row per push, pull and change. Every other room writes through it."""
