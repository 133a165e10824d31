"""Hugging Face decoders, touched as little as possible."""
