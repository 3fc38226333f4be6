"""What touches the world, one library per file."""
