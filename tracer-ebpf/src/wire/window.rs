//! System calls counted during a window: key and value of the map that holds the counts.

use super::record::record;

record! {
    /// One thread's calls of one number.
    pub struct CallKey: 8 {
        /// Thread id.
        0 => tid: u32,
        /// System call number.
        4 => number: u32,
    }
}

/// Different errors of a call that are counted each for itself.
pub const ERRORS_COUNTED: usize = 4;

record! {
    /// How often a call failed with one error.
    #[derive(Default)]
    pub struct ErrorCount: 16 {
        /// Error number, positive. 0: the entry is free.
        0 => errno: u32,
        /// Always 0. Takes the place of padding.
        4 => zero: u32,
        /// Calls.
        8 => calls: u64,
    }
}

record! {
    /// Results of one thread's calls of one number that returned during the window.
    #[derive(Default)]
    pub struct CallTotals: 104 {
        /// Calls in all. Those in no other count failed with an error for which `errors` had no entry left.
        0 => calls: u64,
        /// Calls that returned 0.
        8 => zeros: u64,
        /// Calls that returned a value which is neither 0 nor an error.
        16 => positives: u64,
        /// Sum of these values: bytes, for calls that move data. Wraps around.
        24 => sum: u64,
        /// Errors, in the order in which they were first seen.
        32 => errors: [ErrorCount; ERRORS_COUNTED],
        /// The process.
        96 => tgid: u32,
        /// Always 0. Takes the place of padding.
        100 => zero: u32,
    }
}
