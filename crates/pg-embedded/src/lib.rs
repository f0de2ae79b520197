//! Image sets drawn by a seeded generator: animals on textured ground with a spurious cue, and their edits.
