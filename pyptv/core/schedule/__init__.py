"""From events to tasks, without access to files or processes."""
