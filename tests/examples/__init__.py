"""The examples through real workers, and the stand-in for a serverless platform."""
