"""The rules for judging a run: each with its value, its limit and its verdict."""
