"""Frontends: readers of foreign model formats. Each lowers a file to Lepton IR."""
