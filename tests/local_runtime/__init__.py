"""The warm runtime: a folder for each of its folders; the modules at its top are tested here."""
