"""The legend of dimensions; the same letters stand in annotations and in einsum.

B  rows of a batch            T  positions of a segment      D  width of the backbone (`d_model`)
L  layers                     M  memory tokens               H  heads of a memory
K  features of a key, all heads (`2 * nu * d_mem`)           P  pending tokens
F  features of a key, one head (`K / H`)                     S  segments
C  value channels of one head (`D / H`)                      V  entries of the vocabulary
G  heads of keys and values in an attention, where
   P  keys of a memory     S  keys of the segment
"""

from jaxtyping import Bool, Float, Int
from torch import Tensor

__all__ = ["Bool", "Float", "Int", "Tensor"]
