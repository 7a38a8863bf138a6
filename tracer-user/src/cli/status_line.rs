//! One line at the bottom of a terminal that a job writes to as well.
//!
//! The job's output must not be touched, wherever its cursor is. So the last row is taken out of the terminal's
//! scrolling region (as apt does for its progress bar): the job scrolls above it. Drawing saves and restores the
//! cursor. A program that has put the terminal into raw mode (an editor, a pager, a shell at its prompt) has
//! the whole screen: nothing is drawn then.

use std::io::{IsTerminal as _, Write as _};

use rustix::termios::{LocalModes, tcgetattr, tcgetwinsize};

/// Rows below which the terminal is left alone.
const FEWEST_ROWS: u16 = 6;

/// See the module.
pub struct StatusLine {
    /// Rows of the terminal when its last one was taken; `None`: it is not taken.
    taken: Option<u16>,
}

impl StatusLine {
    /// On a terminal that understands it; `None` elsewhere.
    pub fn on_terminal() -> Option<Self> {
        let dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
        (std::io::stderr().is_terminal() && !dumb).then_some(Self { taken: None })
    }

    /// Draws it.
    pub fn draw(&mut self, text: &str) {
        let stderr = std::io::stderr();
        let cooked = tcgetattr(&stderr)
            .is_ok_and(|modes| modes.local_modes.contains(LocalModes::ICANON | LocalModes::ECHO));
        let Ok(size) = tcgetwinsize(&stderr) else { return };
        if !cooked || size.ws_row < FEWEST_ROWS {
            return;
        }
        let mut bytes = String::new();
        if self.taken != Some(size.ws_row) {
            // A new line first, in case the cursor is in the last row; setting the region moves the cursor.
            bytes += &format!("\n\x1b7\x1b[1;{}r\x1b8\x1b[1A", size.ws_row - 1);
            self.taken = Some(size.ws_row);
        }
        let fits: String = text.chars().take(usize::from(size.ws_col).saturating_sub(1)).collect();
        bytes += &format!("\x1b7\x1b[{};1H\x1b[K{fits}\x1b8", size.ws_row);
        let _ = stderr.lock().write_all(bytes.as_bytes());
    }

    /// Gives the row back, empty.
    pub fn clear(&mut self) {
        if let Some(rows) = self.taken.take() {
            let bytes = format!("\x1b7\x1b[r\x1b[{rows};1H\x1b[K\x1b8");
            let _ = std::io::stderr().lock().write_all(bytes.as_bytes());
        }
    }
}

impl Drop for StatusLine {
    fn drop(&mut self) {
        self.clear();
    }
}
