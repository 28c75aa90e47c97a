"""Bundles: what an application's developer drops into a project, made of artifacts.

A *kind* (android, ios, python, web) is a small class in a module of its own, found by the entry-point group
`edgekit.bundles`. It says what it can hold and has one hook, `files`, from a checked request to files. The frame around
it (`write_bundle`) checks the artifacts to the byte, refuses what the kind cannot hold, writes the folder whole or not
at all, and adds `bundle.json` (docs/formats/bundle.md).

Several artifacts are *variants* of one model, preferred first; the last is the fallback, which must run everywhere.
"""

from __future__ import annotations

from edgekit.bundle.document import BundledArtifact, BundleDocument, read_bundle
from edgekit.bundle.frame import write_bundle
from edgekit.bundle.kind import Content, Kind, Request, Variant

__all__ = [
    "BundleDocument",
    "BundledArtifact",
    "Content",
    "Kind",
    "Request",
    "Variant",
    "read_bundle",
    "write_bundle",
]
