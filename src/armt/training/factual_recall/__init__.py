"""Experiments on factual recall: how much a store holds, and in which order it learns."""
