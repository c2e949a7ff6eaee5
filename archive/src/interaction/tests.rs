//! What the derivation promises.
