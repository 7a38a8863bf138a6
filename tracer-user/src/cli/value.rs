//! Parsers of option values: durations, sizes, formats.

use std::time::Duration;

/// The format of a report on standard output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people
    #[default]
    Text,
    /// JSON, with nothing else on standard output
    Json,
}

/// `--format`, for verbs that report.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct FormatArg {
    /// The report's format
    #[arg(long, value_enum, default_value_t = Format::Text, value_name = "FORMAT")]
    pub format: Format,
}

/// `1 session`, `2 sessions`.
pub fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// A duration with its unit: `500ms`, `30s`, `5m`, `1h 30m`. For `#[arg(value_parser = value::duration)]`.
pub fn duration(argument: &str) -> Result<Duration, String> {
    humantime::parse_duration(argument.trim())
        .map_err(|_| "not a duration: write 500ms, 30s or 5m".to_owned())
}

/// A [`duration`] that is not zero.
pub fn positive_duration(argument: &str) -> Result<Duration, String> {
    match duration(argument)? {
        Duration::ZERO => Err("must be longer than zero".to_owned()),
        value => Ok(value),
    }
}

/// A size in bytes, with or without a unit: `4096`, `64KiB`, `64MiB`, `1GB`.
pub fn size(argument: &str) -> Result<u64, String> {
    argument
        .trim()
        .parse::<bytesize::ByteSize>()
        .map(|size| size.as_u64())
        .map_err(|_| "not a size: write 4096, 64MiB or 1GB".to_owned())
}

/// A share in percent, with or without the sign: `15%`, `15`.
pub fn percent(argument: &str) -> Result<u8, String> {
    let number = argument.trim().trim_end_matches('%').trim_end().parse::<u8>();
    number.ok().filter(|percent| *percent <= 100).ok_or_else(|| "not a share: write 0% to 100%".to_owned())
}

/// A pid: a positive number.
pub fn pid(argument: &str) -> Result<u32, String> {
    match argument.parse::<u32>() {
        Ok(pid) if (1..=i32::MAX as u32).contains(&pid) => Ok(pid),
        _ => Err("not a process id".to_owned()),
    }
}

/// `KEY=VALUE`, the key not empty.
pub fn key_value(argument: &str) -> Result<(String, String), String> {
    match argument.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("not KEY=VALUE".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_a_unit() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(duration("1h 30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(duration("0"), Ok(Duration::ZERO));
        for bad in ["", "30", "s", "-1s", "5 parsecs", "99999999999999999999h", "1e3s", "NaN"] {
            assert!(duration(bad).is_err(), "{bad:?} was taken for a duration");
        }
        assert!(positive_duration("0s").is_err());
    }

    #[test]
    fn sizes_take_binary_and_decimal_units() {
        assert_eq!(size("4096"), Ok(4096));
        assert_eq!(size("64MiB"), Ok(64 << 20));
        assert_eq!(size("1GB"), Ok(1_000_000_000));
        for bad in ["", "MiB", "-5", "12 bananas", "64XiB"] {
            assert!(size(bad).is_err(), "{bad:?} was taken for a size");
        }
    }

    #[test]
    fn a_share_is_at_most_a_hundred_percent() {
        assert_eq!((percent("15%"), percent("0"), percent("100 %")), (Ok(15), Ok(0), Ok(100)));
        for bad in ["", "%", "101%", "-1", "15 of 100"] {
            assert!(percent(bad).is_err(), "{bad:?} was taken for a share");
        }
    }

    #[test]
    fn a_pid_is_positive() {
        assert_eq!(pid("1"), Ok(1));
        for bad in ["0", "-1", "", "x", "4294967295", "99999999999"] {
            assert!(pid(bad).is_err(), "{bad:?} was taken for a pid");
        }
    }
}
