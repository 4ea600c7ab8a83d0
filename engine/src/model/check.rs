//! Checks of single values of `config.json`. Each fails with the key and with what would be right.

/// The wrong key, and what would be right.
pub type Fault = (String, String);

pub fn bad<T>(key: &str, what: impl Into<String>) -> Result<T, Fault> {
    Err((key.to_owned(), what.into()))
}

pub fn within(key: &str, value: usize, min: usize, max: usize) -> Result<(), Fault> {
    if (min..=max).contains(&value) {
        Ok(())
    } else if min == max {
        bad(key, format!("{value}; it should be {min}"))
    } else {
        bad(key, format!("{value}; it should be between {min} and {max}"))
    }
}

pub fn divides(key: &str, divisor: usize, name: &str, value: usize) -> Result<(), Fault> {
    if value.is_multiple_of(divisor) { Ok(()) } else { bad(key, format!("{divisor}; it should divide {name}, {value}")) }
}

pub fn positive(key: &str, value: f32) -> Result<(), Fault> {
    if value > 0.0 && value < 1.0 { Ok(()) } else { bad(key, format!("{value}; it should be above 0 and below 1")) }
}

/// Whether a name, such as a stem's, can be part of a file's name: 1 to 32 of the letters a-z, digits and _.
pub fn is_plain_name(name: &str) -> bool {
    let letters = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    letters && (1..=32).contains(&name.len())
}

pub fn plain(key: &str, name: &str) -> Result<(), Fault> {
    if is_plain_name(name) {
        Ok(())
    } else {
        bad(key, format!("{name:?}; it should be 1 to 32 of the letters a-z, digits and _"))
    }
}
