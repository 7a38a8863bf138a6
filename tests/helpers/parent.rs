//! Lines to and from the test that started this process. Made of single system calls, so that a forked child
//! of a process with threads may use them.

use std::os::fd::BorrowedFd;

use crate::end;

/// Sends a line to the test, in one write.
pub fn send(line: &str) {
    let line = format!("{line}\n");
    // SAFETY: descriptor 1 stays open for as long as this process runs.
    let stdout = unsafe { BorrowedFd::borrow_raw(1) };
    assert_eq!(rustix::io::write(stdout, line.as_bytes()), Ok(line.len()), "the test reads");
}

/// Waits for a line of the test. Ends this process when the test has gone.
pub fn receive() -> String {
    let mut line = Vec::new();
    loop {
        let mut byte = [0];
        // SAFETY: as in `send`, descriptor 0.
        let stdin = unsafe { BorrowedFd::borrow_raw(0) };
        match rustix::io::read(stdin, &mut byte) {
            Ok(1) if byte[0] == b'\n' => return String::from_utf8(line).expect("text"),
            Ok(1) => line.push(byte[0]),
            Err(rustix::io::Errno::INTR) => {}
            _ => end(102),
        }
    }
}
