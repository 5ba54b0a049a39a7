"""Replicate's API, as its own client speaks it: ``requests`` are what is asked, ``models`` which
model that means and how models are shown, ``prompts`` what a language model's input is to a chat;
``files`` are inputs that it uploads, ``views`` are predictions as they are told, ``streams`` their
output as it is followed, and ``endpoints`` the paths.

Source: https://replicate.com/docs/reference/http
"""
