//! What is written can be read, passes its schema, and what cannot be read says why.
