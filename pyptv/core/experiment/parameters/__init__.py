"""Parameters: read from both dialects, checked, and what each of them means."""
