"""The record of a run: tally, log, run report."""
