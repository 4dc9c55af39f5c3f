"""What the two entry points share. ``docs/architecture.md`` says which module may import which."""
