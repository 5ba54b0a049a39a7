"""The console in Debian's Chromium, over a month of calls."""
