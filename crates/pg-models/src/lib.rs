//! Image classifiers on pg-grad's operations, with torchvision's parameter names.
