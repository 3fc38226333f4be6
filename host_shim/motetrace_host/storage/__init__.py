"""SQLite and files. SQL stands here and nowhere else."""
