"""Tasks: streams to train on and samples to be judged by; nothing here knows a model."""
