//! Classification trained on edited images with provenance guidance.
