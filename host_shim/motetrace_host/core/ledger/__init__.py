"""Which numbers of each boot were seen at each hop."""
