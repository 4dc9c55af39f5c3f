"""What everything else stands on: errors, events, frame ranges, the user's options."""
