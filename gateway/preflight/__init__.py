"""What would keep a valid policy from being served: ``startable`` looks at backends, files and
stores, ``claims`` at what two keys cannot both have, ``listening`` at ports and the certificate."""
