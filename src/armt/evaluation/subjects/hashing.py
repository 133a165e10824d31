"""Short hashes of what decides the answers of a subject."""

import hashlib
import json


def short_hash(parts: object) -> str:
    """Returns 16 hexadecimal digits for plain data, the same on every machine."""
    text = json.dumps(parts, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
