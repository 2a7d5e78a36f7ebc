"""What the frontends share: the folding builder, the state of an import, sizes that the running program decides."""
