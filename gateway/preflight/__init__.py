"""What would keep a valid policy from being served: ``startable`` looks at backends, files and
stores, ``listening`` at ports and the certificate."""
