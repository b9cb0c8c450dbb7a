"""A picture's colours, reduced to the 256 that a small PNG can have."""

import numpy as np
from PIL import Image

MOST = 256
# How far colours are apart, in steps of a channel, before each takes a place of its own.
APART = 9.0


def reduced(image: Image.Image) -> Image.Image:
    """The image in 256 colours. Those of areas stay what they are; edges of letters and lines take the nearest one."""
    pixels = np.asarray(image.convert("RGB")).astype(np.uint32)
    packed = (pixels[..., 0] << 16) | (pixels[..., 1] << 8) | pixels[..., 2]
    found, places, counts = np.unique(packed, return_inverse=True, return_counts=True)
    colors = np.stack([found >> 16, (found >> 8) & 0xFF, found & 0xFF], axis=1).astype(np.float32)
    chosen = _chosen(colors, counts)
    nearest = np.empty(len(colors), dtype=np.uint8)
    for start in range(0, len(colors), 4096):
        some = colors[start : start + 4096]
        distances = ((some[:, None, :] - chosen[None, :, :]) ** 2).sum(axis=2)
        nearest[start : start + 4096] = distances.argmin(axis=1)
    indexed = Image.fromarray(nearest[places.reshape(packed.shape)], mode="P")
    indexed.putpalette(chosen.astype(np.uint8).tobytes())
    return indexed


def _chosen(colors: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The colours that most pixels have, without those which are almost another."""
    chosen: list[np.ndarray] = []
    for index in np.argsort(-counts, kind="stable"):
        one = colors[index]
        if not chosen or (((np.array(chosen) - one) ** 2).sum(axis=1) >= APART**2).all():
            chosen.append(one)
            if len(chosen) == MOST:
                break
    return np.array(chosen)
