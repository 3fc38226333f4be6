"""One reading, identified: from its packet to a record of 57 bytes and the spans made from it."""
