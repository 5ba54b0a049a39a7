"""Apps as their developers have them: served by themselves, reloaded, taken along by a tutorial."""
