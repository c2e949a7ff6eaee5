//! Salvage, rotation and gaps, on real files.
