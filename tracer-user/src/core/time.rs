//! Wall-clock times for lines that are ordered by CLOCK_BOOTTIME.
//!
//! The order of events is their `boot_ns`. The `ts` beside it is for people and for the logs of other
//! machines: it is computed from one reading of both clocks, and never goes backwards within a trace. When
//! the wall clock was set back, a line gets one microsecond more than the line before it, and is marked.

use jiff::{SignedDuration, Timestamp};

/// Both clocks, read at the same moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Anchor {
    /// The wall clock.
    pub wall: Timestamp,
    /// CLOCK_BOOTTIME, nanoseconds.
    pub boot_ns: u64,
}

impl Anchor {
    /// The wall-clock time at a boot time. Saturates at the ends of the calendar.
    pub fn wall_at(&self, boot_ns: u64) -> Timestamp {
        let since = i128::from(boot_ns) - i128::from(self.boot_ns);
        let nanos = i64::try_from(since).unwrap_or(if since < 0 { i64::MIN } else { i64::MAX });
        self.wall.saturating_add(SignedDuration::from_nanos(nanos)).unwrap_or(self.wall)
    }
}

impl Anchor {
    /// CLOCK_BOOTTIME at a wall-clock time; `None` before the boot.
    pub fn boot_ns_at(&self, wall: Timestamp) -> Option<u64> {
        let since = wall.duration_since(self.wall).as_nanos();
        u64::try_from(i128::from(self.boot_ns) + since).ok()
    }
}

/// The time of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// RFC 3339, UTC, microseconds.
    pub ts: String,
    /// It was moved forward: the clock showed an earlier time.
    pub adjusted: bool,
}

/// Gives each line of a trace its time, and remembers the last.
#[derive(Clone, Debug, Default)]
pub struct Stamper {
    last_us: Option<i64>,
}

impl Stamper {
    /// The time of a line.
    pub fn stamp(&mut self, anchor: &Anchor, boot_ns: u64) -> Stamp {
        let shown = anchor.wall_at(boot_ns).as_microsecond();
        let (us, adjusted) = match self.last_us {
            Some(last) if shown < last => (last.saturating_add(1), true),
            _ => (shown, false),
        };
        self.last_us = Some(us);
        Stamp { ts: render_us(us), adjusted }
    }

    /// Takes the time of a recorded line: later lines are not earlier than that.
    pub fn observe(&mut self, ts: &str) {
        if let Some(us) = parse_us(ts) {
            self.last_us = Some(self.last_us.map_or(us, |last| last.max(us)));
        }
    }
}

/// A wall clock time in nanoseconds since 1970 as RFC 3339 text in UTC; `None` beyond what that can express.
pub fn rfc3339(unix_ns: i64) -> Option<String> {
    Timestamp::from_nanosecond(i128::from(unix_ns)).ok().map(|timestamp| timestamp.to_string())
}

/// RFC 3339 in UTC with microseconds.
pub fn render(timestamp: Timestamp) -> String {
    format!("{timestamp:.6}")
}

fn render_us(us: i64) -> String {
    render(Timestamp::from_microsecond(us).unwrap_or(if us < 0 { Timestamp::MIN } else { Timestamp::MAX }))
}

/// Microseconds since 1970 of an RFC 3339 time; `None` when it is not one.
pub fn parse_us(ts: &str) -> Option<i64> {
    ts.parse::<Timestamp>().ok().map(Timestamp::as_microsecond)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn anchor(wall_us: i64, boot_ns: u64) -> Anchor {
        Anchor { wall: Timestamp::from_microsecond(wall_us).unwrap(), boot_ns }
    }

    #[test]
    fn times_follow_boottime_and_have_microseconds() {
        let mut stamper = Stamper::default();
        let anchor = anchor(1_700_000_000_000_000, 5_000_000_000);
        assert_eq!(stamper.stamp(&anchor, 4_000_000_000).ts, "2023-11-14T22:13:19.000000Z");
        assert_eq!(stamper.stamp(&anchor, 5_000_001_000).ts, "2023-11-14T22:13:20.000001Z");
    }

    #[test]
    fn a_step_back_of_the_wall_clock_is_bumped_and_marked() {
        let mut stamper = Stamper::default();
        let first = stamper.stamp(&anchor(1_700_000_000_000_000, 1_000), 1_000);
        let stepped = anchor(1_600_000_000_000_000, 2_000_000);
        let second = stamper.stamp(&stepped, 2_000_000);
        assert_eq!(
            (first.adjusted, second.adjusted, second.ts.as_str()),
            (false, true, "2023-11-14T22:13:20.000001Z")
        );
        assert_eq!(stamper.stamp(&stepped, 2_000_000).ts, "2023-11-14T22:13:20.000002Z");
    }

    #[test]
    fn a_resumed_trace_continues_after_its_last_line() {
        let mut stamper = Stamper::default();
        stamper.observe("2023-11-14T22:13:20.000009Z");
        assert_eq!(stamper.stamp(&anchor(0, 0), 0).ts, "2023-11-14T22:13:20.000010Z");
    }

    #[test]
    fn the_ends_of_time_do_not_panic() {
        let far = anchor(1_700_000_000_000_000, u64::MAX);
        let _ = Stamper::default().stamp(&far, 0);
        let _ = Stamper::default().stamp(&anchor(0, 0), u64::MAX);
    }
}
