"""Something breaks or dies in the middle: a backend, a disk, the gateway itself."""
