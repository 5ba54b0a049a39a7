"""The suite that every kind passes comes as a plugin."""

pytest_plugins = ["spillgate_contract"]
