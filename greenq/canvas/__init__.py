"""Canvas: calls as data, and workflows made of them."""

from greenq.canvas.chain import chain
from greenq.canvas.chord import chord
from greenq.canvas.group import group
from greenq.canvas.maps import chunks, xmap, xstarmap
from greenq.canvas.pipes import pipe
from greenq.canvas.signature import Signature, maybe_signature, signature
from greenq.canvas.stamping import GroupStampingVisitor, StampingVisitor

__all__ = [
    "GroupStampingVisitor",
    "Signature",
    "StampingVisitor",
    "chain",
    "chord",
    "chunks",
    "group",
    "maybe_signature",
    "pipe",
    "signature",
    "xmap",
    "xstarmap",
]
