//! Numbers as people read them: bytes, losses, ratios, durations.

/// Bytes with a decimal unit and three digits: `999 B`, `1.23 kB`, `46.9 MB`.
pub fn bytes(count: u64) -> String {
    scaled(count as f64, 3)
}

/// A place on a byte axis, without needless zeros: `20 MB`.
pub fn tick_bytes(count: f64) -> String {
    let text = scaled(count, 3);
    match text.split_once(' ') {
        Some((number, unit)) if number.contains('.') => {
            format!("{} {unit}", number.trim_end_matches('0').trim_end_matches('.'))
        }
        _ => text,
    }
}

fn scaled(count: f64, digits: usize) -> String {
    const UNITS: [&str; 6] = ["B", "kB", "MB", "GB", "TB", "PB"];
    let mut value = count;
    let mut unit = 0;
    // 999.5 would be printed as 1000 with three digits.
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 {
        return format!("{value:.0} B");
    }
    let whole = if value >= 99.95 {
        3
    } else if value >= 9.995 {
        2
    } else {
        1
    };
    format!("{value:.*} {}", digits.saturating_sub(whole), UNITS[unit])
}

/// A loss with three decimals; a dash where none was measured.
pub fn loss(value: Option<f64>) -> String {
    value.map_or_else(|| "–".into(), |value| format!("{value:.3}"))
}

/// A share with one decimal: `31.2%`; a dash where none was measured.
pub fn percent(share: Option<f64>) -> String {
    share.map_or_else(|| "–".into(), |share| format!("{:.1}%", share * 100.0))
}

/// A reduction factor: `12.3x`; a dash where it is not a positive finite number.
pub fn ratio(value: f64) -> String {
    if !value.is_finite() || value <= 0.0 {
        return "–".into();
    }
    if value < 100.0 { format!("{value:.1}x") } else { format!("{value:.0}x") }
}

/// Seconds as `0.42 s`, `12.3 s`, `2 min 5 s`, `1 h 3 min`.
pub fn duration(seconds: f64) -> String {
    if seconds < 10.0 {
        return format!("{seconds:.2} s");
    }
    if seconds < 60.0 {
        return format!("{seconds:.1} s");
    }
    let whole = seconds.round() as u64;
    if whole < 3600 {
        return format!("{} min {} s", whole / 60, whole % 60);
    }
    format!("{} h {} min", whole / 3600, whole % 3600 / 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_three_digits_and_a_decimal_unit() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(1000), "1.00 kB");
        assert_eq!(bytes(46_900_000), "46.9 MB");
        assert_eq!(bytes(999_999), "1.00 MB");
        assert_eq!(bytes(u64::MAX), "18447 PB");
        assert_eq!(tick_bytes(20e6), "20 MB");
        assert_eq!(tick_bytes(2.5e6), "2.5 MB");
        assert_eq!(tick_bytes(100e3), "100 kB");
    }

    #[test]
    fn missing_numbers_are_dashes() {
        assert_eq!(loss(None), "–");
        assert_eq!(ratio(f64::NAN), "–");
        assert_eq!(ratio(12.34), "12.3x");
        assert_eq!(duration(125.2), "2 min 5 s");
    }
}
