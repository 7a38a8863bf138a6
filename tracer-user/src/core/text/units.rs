//! Numbers as people read them.

/// A duration in nanoseconds with its significant digits: `380 ms`, `41.2 s`, `10 min 0 s`, `2
/// h 5 min`, `3 days`.
pub fn duration(ns: u64) -> String {
    let ms = ns / 1_000_000;
    match ms {
        0..=999 => format!("{ms} ms"),
        1_000..=119_999 => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
        120_000..=7_199_999 => format!("{} min {} s", ms / 60_000, ms % 60_000 / 1000),
        7_200_000..=172_799_999 => format!("{} h {} min", ms / 3_600_000, ms % 3_600_000 / 60_000),
        _ => format!("{} days", ms / 86_400_000),
    }
}

/// Digits in groups of three: `65 536`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(' ');
        }
        out.push(digit);
    }
    out
}

/// An enumeration in words: `a`, `a and b`, `a, b and 3 more`; `none` for no element.
pub fn list(words: &[String]) -> String {
    match words {
        [] => "none".to_owned(),
        [one] => one.clone(),
        [a, b] => format!("{a} and {b}"),
        [a, b, c] => format!("{a}, {b} and {c}"),
        [a, b, rest @ ..] => format!("{a}, {b} and {} more", rest.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(grouped(65_536), "65 536");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_000_000), "1 000 000");
        assert_eq!(duration(380_000_000), "380 ms");
        assert_eq!(duration(41_234_000_000), "41.2 s");
        assert_eq!(duration(600_000_000_000), "10 min 0 s");
        assert_eq!(duration(7_500_000_000_000), "2 h 5 min");
        assert_eq!(duration(259_200_000_000_000), "3 days");
    }
}
