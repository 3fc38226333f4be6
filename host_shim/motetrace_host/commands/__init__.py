"""What people type: one file a command, and what its output is made of."""
