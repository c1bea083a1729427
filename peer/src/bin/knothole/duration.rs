//! Durations as people type them.

use std::time::Duration;

/// Reads `500ms`, `30s`, `2m`, `1h`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let wrong = || format!("\"{text}\" is no duration; write it as 500ms, 30s, 2m or 1h");
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let milliseconds = match unit {
        "ms" => Some(number),
        "s" => number.checked_mul(1_000),
        "m" => number.checked_mul(60_000),
        "h" => number.checked_mul(3_600_000),
        _ => None,
    };
    milliseconds.map(Duration::from_millis).ok_or_else(wrong)
}

/// Reads how long a text lasts, in whole seconds: a duration, `1d`, `1w`, or `off`, which is 0.
pub(crate) fn lasting(text: &str) -> Result<u32, String> {
    let wrong = || format!("\"{text}\" is no time that a text may last; write it as 30s, 5m, 1h, 1d, 1w or off");
    if text == "off" {
        return Ok(0);
    }
    let days = |number: &str, days: u64| number.parse::<u64>().ok()?.checked_mul(days * 86_400);
    let seconds = match (text.strip_suffix('d'), text.strip_suffix('w')) {
        (Some(number), _) => days(number, 1),
        (_, Some(number)) => days(number, 7),
        _ => duration(text).ok().map(|duration| duration.as_secs()),
    };
    seconds.and_then(|seconds| u32::try_from(seconds).ok()).filter(|seconds| *seconds > 0).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_and_a_unit_are_a_duration() {
        for (text, milliseconds) in [("0s", 0), ("500ms", 500), ("30s", 30_000), ("2m", 120_000), ("1h", 3_600_000)] {
            assert_eq!(duration(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
    }

    #[test]
    fn a_text_lasts_for_seconds_to_weeks_or_for_ever() {
        for (text, seconds) in [("30s", 30), ("1h", 3600), ("1d", 86_400), ("2w", 1_209_600), ("off", 0)] {
            assert_eq!(lasting(text), Ok(seconds), "{text}");
        }
        for text in ["", "0s", "100ms", "d", "-1d", "999999w", "never"] {
            assert!(lasting(text).unwrap_err().contains("1d"), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused_with_an_example() {
        for text in ["", "s", "30", "-1s", "1.5s", "3 s", "3d", "s3", "99999999999999999999s", "18446744073709551615h"]
        {
            let error = duration(text).unwrap_err();
            assert!(error.contains("30s"), "{text}: {error}");
        }
    }
}
