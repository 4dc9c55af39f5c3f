"""What a run says of itself: tally, log, run report."""
