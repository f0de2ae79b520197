//! Which part of a synthetic image came from where: masks, difference maps, Otsu, morphology, mask quality.
