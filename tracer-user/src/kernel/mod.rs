//! The kernel side: the only user of aya. Hands out events and plain values, never aya types.
