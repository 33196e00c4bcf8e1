//! Amounts of memory, storage and CPU as Kubernetes writes them: `512Mi`, `1.5`, `250m`, `1e3`.
//!
//! The grammar is that of `k8s.io/apimachinery/pkg/api/resource`: a signed decimal number followed by a binary suffix (`Ki`
//! to `Ei`), a decimal one (`n`, `u`, `m`, `k`, `M` to `E`) or a decimal exponent. What is finer than one nano is rounded
//! up, as the API server does.
use std::cmp::Ordering;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use thiserror::Error;

const NANO: i128 = 1_000_000_000;

/// A text that is not a quantity.
#[derive(Debug, Error, PartialEq, Eq, Clone)]
#[error("{text:?} is not a quantity such as 512Mi, 1.5 or 250m")]
pub struct ParseError {
    text: String,
}

/// An amount without unit, exact to one billionth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Amount {
    nanos: i128,
}

impl Amount {
    /// Reads a quantity.
    ///
    /// # Errors
    /// When the text does not follow the grammar or its value does not fit.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        parse_nanos(text)
            .map(|nanos| Self { nanos })
            .ok_or_else(|| ParseError {
                text: text.to_owned(),
            })
    }

    /// An amount of whole bytes.
    pub fn from_bytes(bytes: u64) -> Self {
        Self {
            nanos: i128::from(bytes) * NANO,
        }
    }

    /// The amount in whole bytes, rounded up; negative amounts count as zero.
    pub fn bytes(self) -> u64 {
        u64::try_from(div_ceil(self.nanos.max(0), NANO)).unwrap_or(u64::MAX)
    }

    /// The amount in thousandths (of a CPU), rounded up; negative amounts count as zero.
    pub fn millis(self) -> u64 {
        u64::try_from(div_ceil(self.nanos.max(0), NANO / 1000)).unwrap_or(u64::MAX)
    }

    /// Whether the amount is greater than zero.
    pub fn is_positive(self) -> bool {
        self.nanos > 0
    }
}

impl TryFrom<&Quantity> for Amount {
    type Error = ParseError;

    fn try_from(quantity: &Quantity) -> Result<Self, ParseError> {
        Self::parse(&quantity.0)
    }
}

/// Whether two texts are the same amount (`1Gi` and `1024Mi`); texts that are no quantities are equal only when they are
/// the same text.
pub fn equal(a: &str, b: &str) -> bool {
    a == b || compare(a, b) == Some(Ordering::Equal)
}

/// The order of two quantities; `None` when one of them is not a quantity.
pub fn compare(a: &str, b: &str) -> Option<Ordering> {
    Some(parse_nanos(a)?.cmp(&parse_nanos(b)?))
}

fn parse_nanos(text: &str) -> Option<i128> {
    let (negative, rest) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let end = rest
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(rest.len());
    let (number, suffix) = rest.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
        return None;
    }
    let mut digits: i128 = 0;
    for digit in whole.bytes().chain(fraction.bytes()) {
        digits = digits
            .checked_mul(10)?
            .checked_add(i128::from(digit - b'0'))?;
    }
    let scale = i32::try_from(fraction.len()).ok()?;
    let (factor, exponent) = suffix_value(suffix)?;
    // value = digits * factor * 10^(exponent - scale), in nanos another 10^9
    let power = exponent.checked_sub(scale)?.checked_add(9)?;
    let scaled = digits.checked_mul(factor)?;
    let nanos = match u32::try_from(power) {
        Ok(_) if scaled == 0 => 0,
        Ok(power) => scaled.checked_mul(10_i128.checked_pow(power)?)?,
        Err(_) => match 10_i128.checked_pow(power.unsigned_abs()) {
            Some(divisor) => div_ceil(scaled, divisor),
            None => i128::from(scaled > 0),
        },
    };
    Some(if negative { -nanos } else { nanos })
}

/// The factor and the decimal exponent that a suffix stands for.
fn suffix_value(suffix: &str) -> Option<(i128, i32)> {
    Some(match suffix {
        "" => (1, 0),
        "n" => (1, -9),
        "u" => (1, -6),
        "m" => (1, -3),
        "k" => (1, 3),
        "M" => (1, 6),
        "G" => (1, 9),
        "T" => (1, 12),
        "P" => (1, 15),
        "E" => (1, 18),
        "Ki" => (1 << 10, 0),
        "Mi" => (1 << 20, 0),
        "Gi" => (1 << 30, 0),
        "Ti" => (1 << 40, 0),
        "Pi" => (1 << 50, 0),
        "Ei" => (1 << 60, 0),
        _ => {
            let exponent = suffix.strip_prefix(['e', 'E'])?;
            let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
            if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
                return None;
            }
            (1, exponent.parse().ok()?)
        }
    })
}

fn div_ceil(value: i128, divisor: i128) -> i128 {
    value / divisor + i128::from(value % divisor > 0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_every_form() {
        for (text, nanos) in [
            ("0", 0),
            ("1", NANO),
            ("+1", NANO),
            ("-1", -NANO),
            ("1.5", NANO * 3 / 2),
            (".5", NANO / 2),
            ("5.", NANO * 5),
            ("250m", NANO / 4),
            ("100n", 100),
            ("1u", 1000),
            ("1k", NANO * 1000),
            ("1Ki", NANO * 1024),
            ("1.5Gi", NANO * 1536 * 1024 * 1024),
            ("1e3", NANO * 1000),
            ("1E3", NANO * 1000),
            ("12E", NANO * 12_000_000_000_000_000_000),
            ("1e-3", NANO / 1000),
            ("0.1n", 1),
            ("1e-30", 1),
            ("0e100", 0),
        ] {
            assert_eq!(Amount::parse(text).map(|a| a.nanos), Ok(nanos), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_quantity() {
        for text in [
            "", "-", ".", "Gi", "1.2.3", "1 Gi", "1gi", "1KiB", "1e", "1e+", "1ee3", "0x10", "NaN",
            "1Gi ", "1e999", "９",
        ] {
            assert!(Amount::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn equal_amounts_in_other_words() {
        assert!(equal("1Gi", "1024Mi"));
        assert!(equal("0.5", "500m"));
        assert!(equal("1e3", "1k"));
        assert!(!equal("1G", "1Gi"));
        assert!(!equal("1Gi", "many"));
        assert!(equal("many", "many"));
        assert_eq!(compare("1Gi", "2Gi"), Some(Ordering::Less));
        assert_eq!(compare("1Gi", "x"), None);
    }

    #[test]
    fn bytes_and_millis_round_up() {
        let amount = Amount::parse("1500.2m").expect("a quantity");
        assert_eq!(amount.bytes(), 2);
        assert_eq!(amount.millis(), 1501);
        assert_eq!(Amount::parse("-5").expect("a quantity").bytes(), 0);
        assert_eq!(Amount::parse("8Ei").expect("a quantity").bytes(), 8 << 60);
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,24}") {
            let _ = Amount::parse(&text);
        }

        #[test]
        fn bytes_survive(bytes in any::<u64>()) {
            prop_assert_eq!(Amount::parse(&bytes.to_string()).map(Amount::bytes), Ok(bytes));
            prop_assert_eq!(Amount::from_bytes(bytes).bytes(), bytes);
        }

        #[test]
        fn binary_suffixes_multiply(n in 0_u64..1 << 20, power in 0_u32..6) {
            let suffix = ["", "Ki", "Mi", "Gi", "Ti", "Pi"][power as usize];
            prop_assume!(n.checked_mul(1 << (10 * power)).is_some());
            prop_assert_eq!(Amount::parse(&format!("{n}{suffix}")).map(Amount::bytes), Ok(n << (10 * power)));
        }
    }
}
