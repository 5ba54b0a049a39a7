"""Commands that talk to a gateway that runs: ``client`` finds and asks it; ``snapshot`` is how all
of it stands, which ``status`` tells once and ``top`` again and again; ``backends`` are drained and
enabled, ``ping`` asks one of them, ``policy`` is shown, compared and put into force, ``calls`` are
looked for; ``schedules`` are those that begin work by the clock."""
