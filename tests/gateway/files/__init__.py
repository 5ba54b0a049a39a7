"""Stored files, in a folder and in a bucket, and OpenAI's pages of them."""
