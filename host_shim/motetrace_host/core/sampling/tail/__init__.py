"""Which traces are kept once they are complete."""
