"""How `serve` shares its connections out, without any."""
