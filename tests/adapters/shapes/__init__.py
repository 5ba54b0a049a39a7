"""What JSON has to look like to be an answer, and how it says that something failed."""
