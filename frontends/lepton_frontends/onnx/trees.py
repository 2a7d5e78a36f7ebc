"""Trees as ONNX's attributes describe them, brought to the arrays of ``ml.tree_ensemble``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from lepton_frontends.common.errors import UnsupportedError

_MODES = ("BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ")
_EQUAL, _MEMBER = 4, 6
_INVALID = "the model is not valid ONNX"

Ints = Sequence[int]
_Nodes: TypeAlias = tuple[Sequence[int], np.ndarray, np.ndarray, np.ndarray]
"""Features, modes, splits and children."""


@dataclass(frozen=True)
class Forest:
    """The arrays of ``ml.tree_ensemble``; see there. A place p >= 0 is a node, p < 0 the leaf -1 - p.

    Attributes:
        roots: the place of each tree's root.
        features: the feature of each node.
        modes: its comparison.
        splits: what it compares with.
        children: the places if it does not hold, and if it does.
        missing: whether NaN passes for what holds.
        leaves: where the votes of each leaf begin.
        targets: the target of each vote.
        weights: its weight.
        leaf_trees: the tree of each leaf.
        depth: the length of the longest path.
    """

    roots: np.ndarray
    features: np.ndarray
    modes: np.ndarray
    splits: np.ndarray
    children: np.ndarray
    missing: np.ndarray
    leaves: np.ndarray
    targets: np.ndarray
    weights: np.ndarray
    leaf_trees: np.ndarray
    depth: int

    @property
    def features_needed(self) -> int:
        """How many features a row has to have at least."""
        return int(self.features.max(initial=0)) + 1

    def always_votes_for(self, targets: Iterable[int]) -> bool:
        """Return whether every row gets a vote for each of the targets: some tree has one at all its leaves."""
        sizes = np.bincount(self.leaf_trees, minlength=1)
        of_vote = np.repeat(np.arange(len(self.leaves) - 1), np.diff(self.leaves))

        def certain(target: int) -> bool:
            voting = np.unique(of_vote[self.targets == target])
            counts = np.bincount(self.leaf_trees[voting], minlength=len(sizes))
            return bool(((counts == sizes) & (sizes > 0)).any())

        return all(map(certain, targets))

    def counting(self) -> Forest:
        """Return the trees with 1 as the weight of every vote."""
        return replace(self, weights=np.ones_like(self.weights))


def _i32(values: object) -> np.ndarray:
    return np.asarray(values, np.int64).astype(np.int32)


def _depth(roots: np.ndarray, children: np.ndarray) -> int:
    """Return the length of the longest path, after checking that all of them end."""
    level, depth = np.unique(roots[roots >= 0]), 0
    while level.size:
        depth += 1
        if depth > len(children):
            raise UnsupportedError("one of its trees has a cycle", _INVALID)
        below = np.unique(children[level])
        level = below[below >= 0]
    return depth


def _forest(
    roots: np.ndarray,
    nodes: _Nodes,
    missing: Ints,
    votes: tuple[np.ndarray, np.ndarray, np.ndarray],
    leaf_trees: np.ndarray,
) -> Forest:
    """Return the arrays from nodes and votes (leaves, targets, weights)."""
    features, modes, splits, children = nodes
    if not len(modes):
        # Every tree is one leaf; a node that nobody comes to keeps the arrays from being empty.
        features, modes, splits, children = [0], np.zeros(1, np.uint8), np.zeros(1), np.full((1, 2), -1)
        missing = ()
    if min(features) < 0:
        raise UnsupportedError(f"a node looks at the feature {min(features)}", _INVALID)
    tracks = np.zeros(len(modes), np.uint8)
    tracks[: len(missing)] = np.asarray(missing, np.int64) == 1
    return Forest(
        _i32(roots), _i32(features), modes.astype(np.uint8), splits, _i32(children), tracks,
        *votes, leaf_trees, _depth(roots, children),
    )  # fmt: skip


def _same_length(what: str, *fields: Sequence[object] | np.ndarray) -> None:
    if len({len(f) for f in fields}) != 1:
        raise UnsupportedError(f"its attributes of {what} differ in length", _INVALID)


def forest_of_lists(
    *,
    tree_ids: Ints,
    node_ids: Ints,
    features: Ints,
    modes: Sequence[str],
    splits: np.ndarray,
    true_ids: Ints,
    false_ids: Ints,
    missing: Ints,
    vote_trees: Ints,
    vote_nodes: Ints,
    vote_targets: Ints,
    vote_weights: np.ndarray,
) -> Forest:
    """Return the trees of TreeEnsembleRegressor and TreeEnsembleClassifier: nodes named by tree and number.

    A tree's root is its first node.

    Raises:
        UnsupportedError: the attributes do not describe trees.
    """
    _same_length("nodes", tree_ids, node_ids, features, modes, splits, true_ids, false_ids)
    _same_length("votes", vote_trees, vote_nodes, vote_targets, vote_weights)
    unknown = set(modes) - {*_MODES, "LEAF"}
    if unknown or not tree_ids:
        raise UnsupportedError(f"its nodes have the mode {unknown.pop()}" if unknown else "it has no trees", _INVALID)
    inner = np.array([m != "LEAF" for m in modes])
    places = np.where(inner, np.cumsum(inner) - 1, -np.cumsum(~inner))
    names = list(zip(tree_ids, node_ids, strict=True))
    place_of = dict(zip(names, places.tolist(), strict=True))
    if len(place_of) < len(names):
        raise UnsupportedError("two of its nodes have the same number in one tree", _INVALID)
    own = np.flatnonzero(inner).tolist()
    try:
        children = [[place_of[tree_ids[i], ids[i]] for ids in (false_ids, true_ids)] for i in own]
        voting = np.array([place_of[name] for name in zip(vote_trees, vote_nodes, strict=True)], np.int64)
    except KeyError as error:
        raise UnsupportedError(f"there is no node {error}", _INVALID) from None
    first = {t: i for i, t in reversed(list(enumerate(tree_ids)))}
    numbers = {t: n for n, t in enumerate(first)}
    return _forest(
        places[sorted(first.values())],
        ([features[i] for i in own], np.array([_MODES.index(modes[i]) for i in own], np.uint8), splits[own],
         np.array(children, np.int64).reshape(-1, 2)),
        [missing[i] for i in own if i < len(missing)],
        _votes(voting, vote_targets, vote_weights, int((~inner).sum())),
        np.array([numbers[tree_ids[i]] for i in np.flatnonzero(~inner).tolist()], np.int64),
    )  # fmt: skip


def _votes(
    places: np.ndarray, targets: Ints, weights: np.ndarray, leaves: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return where each leaf's votes begin, and the votes in the order of the leaves; nodes' votes never count."""
    counted = np.flatnonzero(places < 0)
    leaf = -1 - places[counted]
    order = np.argsort(leaf, kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(leaf, minlength=leaves))])
    kept = counted[order]
    if not kept.size:
        raise UnsupportedError("none of its leaves votes", _INVALID)
    return _i32(starts), _i32(targets)[kept], weights[kept]


def forest_of_places(
    *,
    roots: Ints,
    features: Ints,
    modes: np.ndarray,
    splits: np.ndarray,
    true_ids: Ints,
    true_leaves: Ints,
    false_ids: Ints,
    false_leaves: Ints,
    missing: Ints,
    members: np.ndarray | None,
    leaf_targets: Ints,
    leaf_weights: np.ndarray,
) -> Forest:
    """Return the trees of TreeEnsemble: nodes and leaves named by their position.

    A node that asks for membership in a set becomes a chain of nodes that ask for its members.

    Raises:
        UnsupportedError: the attributes do not describe trees.
    """
    _same_length("nodes", features, modes, splits, true_ids, true_leaves, false_ids, false_leaves)
    _same_length("leaves", leaf_targets, leaf_weights)
    count, leaves = len(modes), len(leaf_targets)
    pairs = ((false_ids, false_leaves), (true_ids, true_leaves))
    columns = [np.where(np.asarray(flags, bool), -1 - np.asarray(ids), np.asarray(ids)) for ids, flags in pairs]
    children = np.stack(columns, axis=1).astype(np.int64).reshape(-1, 2)
    start = np.asarray(roots, np.int64)
    for places in (start, children):
        if not places.size or places.min() < -leaves or places.max() >= count or (places is start and start.min() < 0):
            raise UnsupportedError("its trees lead to nodes or leaves that do not exist", _INVALID)
    if modes.max() > _MEMBER:
        raise UnsupportedError(f"its nodes have the mode {modes.max()}", _INVALID)
    nodes, tracks = _chains(list(features), modes, splits, children, list(missing), members)
    votes = (_i32(np.arange(leaves + 1)), _i32(leaf_targets), leaf_weights)
    return _forest(start, nodes, tracks, votes, np.zeros(leaves, np.int64))


def _chains(
    features: list[int],
    modes: np.ndarray,
    splits: np.ndarray,
    children: np.ndarray,
    missing: list[int],
    members: np.ndarray | None,
) -> tuple[_Nodes, list[int]]:
    """Return the nodes with one for every member of a set; the first stands where the set's node stood."""
    asking = np.flatnonzero(modes == _MEMBER)
    if not asking.size:
        return (features, modes, splits, children), missing
    sets = _sets(members, len(asking))
    kinds, values, below = modes.tolist(), splits.tolist(), children.tolist()
    tracks = missing + [0] * (len(modes) - len(missing))
    for node, values_in in zip(asking.tolist(), sets, strict=True):
        otherwise, then = below[node]
        kinds[node], at = _EQUAL, node
        # Nothing equals NaN, which stands for the empty set.
        values[node] = values_in[0] if values_in else float("nan")
        for value in values_in[1:]:
            below[at][0], at = len(kinds), len(kinds)
            features.append(features[node])
            kinds.append(_EQUAL)
            values.append(value)
            below.append([otherwise, then])
            tracks.append(tracks[node])
    arrays = np.array(kinds, np.uint8), np.array(values, splits.dtype), np.array(below, np.int64)
    return (features, *arrays), tracks


def _sets(members: np.ndarray | None, count: int) -> list[list[float]]:
    """Return the members of each set; NaN ends one."""
    sets: list[list[float]] = [[]]
    for value in [] if members is None else members.reshape(-1).tolist():
        if value != value:
            sets.append([])
        else:
            sets[-1].append(value)
    if len(sets) not in (count, count + 1) or (len(sets) > count and sets[-1]):
        raise UnsupportedError(f"it has {len(sets)} sets of members for {count} nodes", _INVALID)
    return sets[:count]
