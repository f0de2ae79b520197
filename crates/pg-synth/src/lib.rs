//! Synthesis that keeps its provenance: CutMix, ResizeMix, mixup and edit pairs.
