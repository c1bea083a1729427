//! Sizes as people write them.

use std::str::FromStr;

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size(pub(crate) u64);

/// Why a text is not a size.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a size is a number of bytes, or of KiB, MiB, GiB or TiB with K, M, G or T behind it, like 512M")]
pub(crate) struct InvalidSize;

/// Each 1,024 times the one before.
const UNITS: [&str; 5] = ["", "K", "M", "G", "T"];

impl FromStr for Size {
    type Err = InvalidSize;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let unit = unit.to_ascii_uppercase();
        let unit = unit.strip_suffix("IB").or_else(|| unit.strip_suffix('B')).unwrap_or(&unit);
        let power = UNITS.iter().position(|known| *known == unit).ok_or(InvalidSize)?;
        let number: u64 = number.parse().map_err(|_| InvalidSize)?;
        number.checked_mul(1 << (10 * power)).map(Self).ok_or(InvalidSize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, bytes) in
            [("0", 0), ("1000", 1000), ("2k", 2048), ("1G", 1 << 30), ("1GiB", 1 << 30), ("3MB", 3 << 20)]
        {
            assert_eq!(text.parse(), Ok(Size(bytes)), "{text}");
        }
        for text in ["", "G", "-1", "1.5G", "1X", "1 G", "99999999T", "1iB2"] {
            assert_eq!(text.parse::<Size>(), Err(InvalidSize), "{text}");
        }
    }
}
