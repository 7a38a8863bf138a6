//! Text from outside: bytes that other programs chose, made safe to show, and the units that readers expect.

mod bytes;
mod escape;
mod shell;
mod units;

pub use bytes::ByteString;
pub use escape::{escape, json, printable, unescape};
pub use shell::shell_word;
pub use units::{duration, grouped, list};
