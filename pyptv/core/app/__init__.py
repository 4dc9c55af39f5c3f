"""One run from its arguments to its result: checks, plan, the loop over events, and what follows it."""
