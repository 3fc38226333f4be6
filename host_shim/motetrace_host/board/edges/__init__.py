"""What `motetrace device` touches: one program, library or device per file; they never import one another."""
