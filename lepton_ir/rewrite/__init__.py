"""Rewriting: patterns, the rewriter that applies them, and the greedy driver."""

from lepton_ir.rewrite.canonical import canonicalization_patterns
from lepton_ir.rewrite.declarative import DeclarativePattern, constant_array, constant_of, uniform_scalar
from lepton_ir.rewrite.driver import RewriteControl, apply_greedily, is_trivially_dead, remove_dead_ops
from lepton_ir.rewrite.nodes import Node, OpNode, PatternBuilder, Var
from lepton_ir.rewrite.pattern import Failure, ImperativePattern, Match, Pattern, Replacement, Rewrite, rewrite_pattern
from lepton_ir.rewrite.rewriter import PatternRewriter, compatible

__all__ = [
    "DeclarativePattern",
    "Failure",
    "ImperativePattern",
    "Match",
    "Node",
    "OpNode",
    "Pattern",
    "PatternBuilder",
    "PatternRewriter",
    "Replacement",
    "Rewrite",
    "RewriteControl",
    "Var",
    "apply_greedily",
    "canonicalization_patterns",
    "compatible",
    "constant_array",
    "constant_of",
    "is_trivially_dead",
    "remove_dead_ops",
    "rewrite_pattern",
    "uniform_scalar",
]
