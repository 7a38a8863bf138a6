//! The kernel fields the programs read, by struct and member path.
