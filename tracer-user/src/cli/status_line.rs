//! A status line at the bottom of a terminal that the job writes to as well.
//!
//! The job's output must stay intact wherever its cursor is. So the last row is excluded from the terminal's
//! scrolling region, as apt does for its progress bar, and the job scrolls above it. Drawing saves and
//! restores the cursor. Nothing is drawn while the terminal is in raw mode, because then a program (an
//! editor, a pager, a shell at its prompt) uses the whole screen.

use std::io::IsTerminal as _;

use rustix::termios::{LocalModes, tcgetattr, tcgetwinsize};

use super::stderr;

/// Smaller terminals get no status line.
const FEWEST_ROWS: u16 = 6;

/// The status line of this terminal.
pub struct StatusLine {
    /// Rows of the terminal when its last row was reserved; `None`: no row is reserved.
    reserved: Option<u16>,
}

impl StatusLine {
    /// A status line if standard error is a terminal that supports cursor movement.
    pub fn on_terminal() -> Option<Self> {
        let dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
        (std::io::stderr().is_terminal() && !dumb).then_some(Self { reserved: None })
    }

    /// Draws the line.
    pub fn draw(&mut self, text: &str) {
        let terminal = std::io::stderr();
        let cooked = tcgetattr(&terminal)
            .is_ok_and(|modes| modes.local_modes.contains(LocalModes::ICANON | LocalModes::ECHO));
        let Ok(size) = tcgetwinsize(&terminal) else { return };
        if !cooked || size.ws_row < FEWEST_ROWS {
            return;
        }
        let mut bytes = String::new();
        let reserves = self.reserved != Some(size.ws_row);
        if reserves {
            // A new line first, in case the cursor is in the last row; setting the region moves the cursor.
            bytes += &format!("\n\x1b7\x1b[1;{}r\x1b8\x1b[1A", size.ws_row - 1);
        }
        let fits: String = text.chars().take(usize::from(size.ws_col).saturating_sub(1)).collect();
        bytes += &format!("\x1b7\x1b[{};1H\x1b[K{fits}\x1b8", size.ws_row);
        // A terminal that is stopped gets the line as it is once it goes on.
        if stderr::write_now(bytes) && reserves {
            self.reserved = Some(size.ws_row);
        }
    }

    /// Clears the row and returns it to the scrolling region.
    pub fn clear(&mut self) {
        if let Some(rows) = self.reserved.take() {
            let bytes = format!("\x1b7\x1b[r\x1b[{rows};1H\x1b[K\x1b8");
            stderr::write(bytes);
        }
    }
}

impl Drop for StatusLine {
    fn drop(&mut self) {
        self.clear();
    }
}
