"""What is right and what is doubtful in a run: each rule with its value, its limit and its verdict."""
