"""The ranks of probabilities among the labels of the same kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True, slots=True)
class Label:
    """A label of a model, as the database knows it."""

    id: int
    position: int
    kind: str


@dataclass(frozen=True, slots=True)
class Scores:
    """The probabilities of a prediction, ranked. All sequences are in the order of the labels."""

    genre_ids: Sequence[int]
    positions: Sequence[int]
    probabilities: Sequence[float]
    ranks: Sequence[int]  # Among the labels of the same kind. 1 is the most probable one.
    first: tuple[int, float] | tuple[None, None]  # The most probable label of the kind "genre": its id and probability.


def rank_scores(labels: tuple[Label, ...], genre_ids: Sequence[int], probabilities: Sequence[float]) -> Scores:
    """Rank the probabilities of the genres with these ids. Equal ones are ranked by the positions of their labels.

    labels: those of the model. It may have had others than now, under the same name and version.
    Raises ValueError when a genre is none of the model's, or when there is not one probability for each genre.
    """
    if len(genre_ids) != len(probabilities):
        raise ValueError(f"there are {len(probabilities)} probabilities for {len(genre_ids)} genres")
    layout = _find_layout(labels, tuple(genre_ids))
    sorted_probabilities = [probabilities[place] for place in layout.order]
    ranks = [0] * len(layout.order)
    first: tuple[int, float] | tuple[None, None] = (None, None)
    for kind, places in layout.places_by_kind:
        ranked = sorted(places, key=sorted_probabilities.__getitem__, reverse=True)
        for rank, place in enumerate(ranked, 1):
            ranks[place] = rank
        if kind == "genre":
            first = layout.genre_ids[ranked[0]], sorted_probabilities[ranked[0]]
    return Scores(layout.genre_ids, layout.positions, sorted_probabilities, ranks, first)


@dataclass(frozen=True, slots=True)
class _Layout:
    """How the probabilities of some genres are brought into the order of their labels."""

    order: tuple[int, ...]  # Which of the probabilities comes first, which second, and so on.
    genre_ids: tuple[int, ...]
    positions: tuple[int, ...]
    places_by_kind: tuple[tuple[str, tuple[int, ...]], ...]


@lru_cache(maxsize=16)
def _find_layout(labels: tuple[Label, ...], genre_ids: tuple[int, ...]) -> _Layout:
    """Raises ValueError when a genre is not among the labels."""
    places = {genre_id: place for place, genre_id in enumerate(genre_ids)}
    present = [label for label in labels if label.id in places]
    if len(present) != len(genre_ids):
        known = sorted(label.id for label in labels)
        raise ValueError(f"probabilities of the genres {sorted(genre_ids)} of a model with the genres {known}")
    kinds = dict.fromkeys(label.kind for label in present)
    return _Layout(
        order=tuple(places[label.id] for label in present),
        genre_ids=tuple(label.id for label in present),
        positions=tuple(label.position for label in present),
        places_by_kind=tuple(
            (kind, tuple(place for place, label in enumerate(present) if label.kind == kind)) for kind in kinds
        ),
    )
