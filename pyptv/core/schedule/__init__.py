"""From events to tasks: pure bookkeeping."""
