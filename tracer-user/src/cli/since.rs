//! `--since`: durations, times, dates and words for days, in the time zone of the user.

use std::time::Duration;

use jiff::civil::{DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _, Zoned};

use super::value;

/// A moment, before the present is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// This long ago.
    Ago(Duration),
    /// An exact time.
    At(Timestamp),
    /// The beginning of this day.
    Today,
    /// The beginning of the day before.
    Yesterday,
    /// At this time of this day.
    TodayAt(Time),
    /// At this time of the user's clock.
    Local(DateTime),
}

/// Parses the value.
pub fn parse(argument: &str) -> Result<Since, String> {
    let argument = argument.trim();
    match argument {
        "today" => return Ok(Since::Today),
        "yesterday" => return Ok(Since::Yesterday),
        _ => {}
    }
    if let Ok(at) = argument.parse() {
        return Ok(Since::At(at));
    }
    // A time of today has no date, which jiff would also skip over.
    if !argument.contains('-')
        && let Ok(time) = argument.parse::<Time>()
    {
        return Ok(Since::TodayAt(time));
    }
    if let Ok(at) = argument.parse::<DateTime>() {
        return Ok(Since::Local(at));
    }
    value::duration(argument).map(Since::Ago).map_err(|_| {
        "not a time: write 2h, 08:00, 2026-11-21, \"2026-11-21 08:00\", 2026-11-21T08:00:00Z, today or yesterday"
            .to_owned()
    })
}

impl Since {
    /// The moment, by the present time and the time zone of this machine.
    pub fn time(self) -> Timestamp {
        self.at(&crate::session::clock::anchor().wall.to_zoned(TimeZone::system()))
    }

    fn at(self, now: &Zoned) -> Timestamp {
        let local = |at: DateTime| at.to_zoned(now.time_zone().clone()).map(|at| at.timestamp());
        let moment = match self {
            Self::At(at) => Ok(at),
            Self::Ago(ago) => now.timestamp().checked_sub(ago),
            Self::Today => local(now.date().into()),
            Self::Yesterday => now.date().checked_sub(1.day()).and_then(|date| local(date.into())),
            Self::TodayAt(time) => local(now.date().to_datetime(time)),
            Self::Local(at) => local(at),
        };
        // Before all that can be written: everything is later.
        moment.unwrap_or(Timestamp::MIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_a_moment_in_the_time_zone_of_the_user() {
        let now: Zoned = "2026-11-25T17:30:00+01:00[Europe/Berlin]".parse().unwrap();
        for (written, moment) in [
            ("2h", "2026-11-25T14:30:00Z"),
            ("08:00", "2026-11-25T07:00:00Z"),
            ("2026-11-21", "2026-11-20T23:00:00Z"),
            ("2026-11-21 08:15", "2026-11-21T07:15:00Z"),
            ("2026-11-21T08:15:30", "2026-11-21T07:15:30Z"),
            ("2026-11-21T08:00:00Z", "2026-11-21T08:00:00Z"),
            ("today", "2026-11-24T23:00:00Z"),
            ("yesterday", "2026-11-23T23:00:00Z"),
        ] {
            let since = parse(written).unwrap_or_else(|error| panic!("{written}: {error}"));
            assert_eq!(since.at(&now).to_string(), moment, "{written}");
        }
    }

    #[test]
    fn anything_else_is_an_error_that_lists_the_forms() {
        for bad in ["", "tomorrow", "25:00", "2026-13-01", "8 o'clock", "last week"] {
            let error = parse(bad).expect_err(bad);
            assert!(error.contains("yesterday") && error.contains("2026-11-21"), "{error}");
        }
    }
}
