"""Pure functions of tensors: the plain version first, faster ones beside it."""
