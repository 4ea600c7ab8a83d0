//! Splits PTX text into tokens, each with its line.

use super::LoadError;

/// One token of PTX.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Token<'a> {
    /// A name, register, opcode or directive, dots included: `%rd1`, `ld.global.nc.v4.u32`, `.reg`.
    Word(&'a str),
    /// A number as written, without sign: `12`, `0x1F`, `0f3F800000`, `8.0`, `7U`.
    Number(&'a str),
    /// A string without its quotes.
    Text(&'a str),
    /// Any other character.
    Mark(char),
}

fn starts_word(c: u8) -> bool {
    c.is_ascii_alphabetic() || matches!(c, b'_' | b'$' | b'%' | b'.')
}

fn in_word(c: u8) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, b'_' | b'$' | b'%' | b'.')
}

/// Splits `text` into tokens with their 1-based lines. Comments and blanks are dropped.
pub fn tokens(text: &str) -> Result<Vec<(Token<'_>, u32)>, LoadError> {
    let bytes = text.as_bytes();
    let mut found = Vec::new();
    let (mut i, mut line) = (0, 1u32);
    while i < bytes.len() {
        let c = bytes[i];
        let rest = &bytes[i..];
        if c == b'\n' {
            line += 1;
            i += 1;
        } else if c.is_ascii_whitespace() {
            i += 1;
        } else if rest.starts_with(b"//") {
            while i < bytes.len() && bytes[i] != b'\n' {
                i += 1;
            }
        } else if rest.starts_with(b"/*") {
            let end = text[i..].find("*/").ok_or_else(|| LoadError::at(line, "/*", "a comment that does not end"))?;
            line += text[i..i + end].matches('\n').count() as u32;
            i += end + 2;
        } else if c == b'"' {
            let end = text[i + 1..].find(['"', '\n']).map(|e| i + 1 + e);
            match end {
                Some(end) if bytes[end] == b'"' => {
                    found.push((Token::Text(&text[i + 1..end]), line));
                    i = end + 1;
                }
                _ => return Err(LoadError::at(line, "\"", "a string that does not end")),
            }
        } else if c.is_ascii_digit() {
            let start = i;
            while i < bytes.len() && (bytes[i].is_ascii_alphanumeric() || bytes[i] == b'.') {
                i += 1;
            }
            found.push((Token::Number(&text[start..i]), line));
        } else if starts_word(c) {
            let start = i;
            loop {
                while i < bytes.len() && in_word(bytes[i]) {
                    i += 1;
                }
                // `L1::no_allocate` is one word; a label's single colon is not part of it.
                if bytes[i..].starts_with(b"::") && bytes.get(i + 2).is_some_and(|c| in_word(*c)) {
                    i += 2;
                } else {
                    break;
                }
            }
            found.push((Token::Word(&text[start..i]), line));
        } else if c.is_ascii_graphic() {
            found.push((Token::Mark(c as char), line));
            i += 1;
        } else {
            return Err(LoadError::at(line, "", &format!("byte 0x{c:02x} is no PTX")));
        }
    }
    Ok(found)
}

/// Reads a PTX integer: decimal, octal, `0x`, `0b`, with an optional `U`.
pub fn integer(text: &str) -> Option<u64> {
    let t = text.strip_suffix('U').unwrap_or(text);
    let lower = t.to_ascii_lowercase();
    if let Some(hex) = lower.strip_prefix("0x") {
        u64::from_str_radix(hex, 16).ok()
    } else if let Some(bin) = lower.strip_prefix("0b") {
        u64::from_str_radix(bin, 2).ok()
    } else if lower.len() > 1 && lower.starts_with('0') {
        u64::from_str_radix(&lower[1..], 8).ok()
    } else {
        lower.parse().ok()
    }
}
