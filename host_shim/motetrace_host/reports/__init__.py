"""What the commands that look at a state folder print: `reading` for `motetrace trace`, `devices` for its namesake."""
