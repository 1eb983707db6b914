"""What of an upload the server's side sees, and the names by which plugins know its tensors."""

from dataclasses import replace

from torch import Tensor

from priprune_plugins.masks import applied
from priprune_plugins.messages import Upload


def seen_by_server(upload: Upload) -> Upload:
    """Return the upload as its bytes show it: no ``shared``, coordinates that were not sent exactly 0."""
    if upload.shared is None:
        return upload
    length = upload.shared.numel()
    extras = {
        name: applied(extra, upload.shared) if extra.shape == (length,) else extra
        for name, extra in upload.extras.items()
    }
    return replace(upload, weights=applied(upload.weights, upload.shared), shared=None, extras=extras)


def upload_tensors(upload: Upload) -> dict[str, Tensor]:
    """Return all tensors of an upload, by the names that errors have for them."""
    extras = {f"upload.extras[{name!r}]": tensor for name, tensor in upload.extras.items()}
    buffers = {f"upload.buffers[{name!r}]": tensor for name, tensor in upload.buffers.items()}
    shared = {} if upload.shared is None else {"upload.shared": upload.shared}
    return {"upload.weights": upload.weights, **shared, **extras, **buffers}
