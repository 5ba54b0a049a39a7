"""Workers on RunPod's own SDK, without a model."""
