"""The base of all other modules: errors, events, frame ranges, the user's options."""
