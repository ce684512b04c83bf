"""Cortex records: read, written, and made of any image of a dataset.

Records are what others wrote: whatever they hold, the answer is a record, a reason (`Broken`), or
a CurationError.
"""

from embeddings.cortex.files import Broken as Broken
from embeddings.cortex.files import loads as loads
from embeddings.cortex.files import read as read
from embeddings.cortex.record import STAGES as STAGES
from embeddings.cortex.record import CortexRecord as CortexRecord
from embeddings.cortex.record import Detection as Detection
from embeddings.cortex.record import dumps as dumps
from embeddings.cortex.record import from_cortex as from_cortex
from embeddings.cortex.record import to_cortex as to_cortex
from embeddings.cortex.tables import Kept as Kept
from embeddings.cortex.tables import of_image as of_image
from embeddings.cortex.tables import of_images as of_images
