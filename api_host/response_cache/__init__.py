"""Answers kept for requests that would be answered the same again: in memory, or in Redis."""
