"""The files of deploy/: each is held to the program that reads it, or to its published schema."""
