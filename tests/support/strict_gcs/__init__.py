"""A strict Google Cloud Storage of our own: it forgives nothing, remembers everything and misbehaves on request.

The JSON API as google-cloud-storage uses it: buckets, objects, simple and resumable uploads, ranged downloads, lists in
pages, copies and compositions, with generations and every precondition enforced. `StrictGcs` answers only to its own
authority, keeps each request it received and counts what really changed. Not served: batches, versioned buckets, gzip
transcoding, the XML API, `fields` (accepted, whole resources come back).
"""

from support.strict_gcs.faults import Action, Fault, FaultScript
from support.strict_gcs.model import Refused, Store, StoredObject
from support.strict_gcs.received import Received
from support.strict_gcs.server import StrictGcs

__all__ = ["Action", "Fault", "FaultScript", "Received", "Refused", "Store", "StoredObject", "StrictGcs"]
