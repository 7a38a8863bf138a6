//! pidfds, and the ladder of signals that ends processes.
