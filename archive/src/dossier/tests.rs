//! What `accept` promises.
