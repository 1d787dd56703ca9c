"""The two label spaces that a truth may be in, and what one modality alone says over the labels of either."""

from __future__ import annotations

from maeum.calibration import Space
from maeum.fusion import Fusion, Vector


def label_spaces(fusion: Fusion) -> dict[Space, tuple[str, ...]]:
    """Labels of both spaces, in the order of the fused vectors."""
    return {"korean": fusion.text_labels, "english": fusion.projection.en_labels}


def text_in_space(fusion: Fusion, space: Space, text: Vector) -> Vector:
    """The words alone: their own vectors for Korean labels, projected ones for English labels.

    Args:
        fusion: labels and projection.
        space: whose labels the result is over.
        text: shape (…, n_text_labels), in the text model's order.

    Returns:
        Shape (…, n_labels), in the order of `label_spaces`.
    """
    return text if space == "korean" else fusion.text_to_english(text)


def voice_in_space(fusion: Fusion, space: Space, voice: Vector) -> Vector:
    """The voice alone: its own vectors for English labels, projected ones for Korean labels.

    Args:
        fusion: labels and projection.
        space: whose labels the result is over.
        voice: shape (…, n_voice_labels), in the voice model's order.

    Returns:
        Shape (…, n_labels), in the order of `label_spaces`; a label that the voice model lacks gets 1e-12.
    """
    english = fusion.voice_to_english(voice)
    return english if space == "english" else fusion.to_korean(english)
