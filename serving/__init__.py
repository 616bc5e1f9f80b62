"""What a promoted model says: the scorer, batch scores and the service."""

import os

# Before any library is imported: nothing is reported to anyone.
os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")
os.environ.setdefault("OTEL_SDK_DISABLED", "true")
