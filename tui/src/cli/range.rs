//! Parsers for numbers with a range of [`sideman_engine::limits`].

use sideman_engine::limits::Range;

/// Reads a number in a range.
pub fn f64_in(range: Range) -> impl Fn(&str) -> Result<f64, String> + Clone {
    move |text| {
        let value = text.parse::<f64>().map_err(|_| "not a number".to_owned())?;
        if range.contains(value) { Ok(value) } else { Err(format!("must be {}", between(range))) }
    }
}

/// Reads a number in a range, in single precision.
pub fn f32_in(range: Range) -> impl Fn(&str) -> Result<f32, String> + Clone {
    move |text| {
        let value = text.parse::<f32>().map_err(|_| "not a number".to_owned())?;
        if range.contains(f64::from(value)) { Ok(value) } else { Err(format!("must be {}", between(range))) }
    }
}

/// `between 20 and 400 BPM`.
fn between(range: Range) -> String {
    let unit = if range.unit.is_empty() { String::new() } else { format!(" {}", range.unit) };
    format!("between {} and {}{unit}", range.min, range.max)
}

#[cfg(test)]
mod tests {
    use sideman_engine::limits;

    use super::*;

    #[test]
    fn a_number_outside_its_range_is_refused() {
        let tempo = f64_in(limits::TEMPO);
        assert_eq!((tempo("20"), tempo("400")), (Ok(20.0), Ok(400.0)));
        for bad in ["19.9", "401", "nan", "inf", "fast", ""] {
            assert!(tempo(bad).is_err(), "{bad}");
        }
    }
}
