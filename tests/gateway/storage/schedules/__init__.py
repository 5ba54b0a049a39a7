"""How far schedules have come, in stores of both kinds."""
