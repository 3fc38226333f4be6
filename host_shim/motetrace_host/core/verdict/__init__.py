"""Where a reading was lost, and on what evidence."""
