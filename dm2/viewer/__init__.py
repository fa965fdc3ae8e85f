"""Battles one can watch: recordings, pages and animations."""
