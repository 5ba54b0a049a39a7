"""The few files that run an app on another platform: ``spillgate package``."""
