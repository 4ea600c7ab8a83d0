//! Checks SentencePiece's compiled normalization rules (`precompiled_charsmap`). The crate `tokenizers`,
//! which applies them, does not check them and panics on damaged ones.
//!
//! Format: a u32 n, a double-array trie of n bytes (u32 units), then texts that end with zero bytes. A unit's
//! low byte is its label, bit 8 says that a value follows, bits 10 and up (shifted by 8 where bit 9 is set)
//! are the offset to the next units.

/// Checks that a look-up of any text stays inside the array, and that every value is the position of a text.
///
/// # Errors
/// The text says what is damaged.
pub fn check(rules: &[u8]) -> Result<(), String> {
    let wrong = |what: &str| Err(format!("its normalization rules are damaged: {what}"));
    let Some((len, rest)) = rules.split_first_chunk::<4>() else { return wrong("they are incomplete") };
    let len = u32::from_le_bytes(*len) as usize;
    if len > rest.len() || !len.is_multiple_of(4) || len == 0 {
        return wrong("they are incomplete");
    }
    let units: Vec<usize> = rest[..len].chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]) as usize).collect();
    let Ok(texts) = std::str::from_utf8(&rest[len..]) else { return wrong("a text is not UTF-8") };
    let offset = |unit: usize| (unit >> 10) << ((unit & (1 << 9)) >> 6);
    // Visits every base that a look-up can reach; any byte can come next.
    let mut seen = vec![false; units.len()];
    let mut bases = vec![offset(units[0])];
    while let Some(base) = bases.pop() {
        if base >= units.len() || std::mem::replace(&mut seen[base], true) {
            if base >= units.len() {
                return wrong("an offset is outside the array");
            }
            continue;
        }
        for byte in 1..=255usize {
            let Some(unit) = units.get(base ^ byte) else { return wrong("an offset is outside the array") };
            if unit & (1 << 31 | 0xff) != byte {
                continue;
            }
            let next = (base ^ byte) ^ offset(*unit);
            if unit >> 8 & 1 == 1 {
                let value = units.get(next).map(|u| u & ((1 << 31) - 1));
                if !value.is_some_and(|at| texts.is_char_boundary(at)) {
                    return wrong("a value is not the position of a text");
                }
            }
            bases.push(next);
        }
    }
    Ok(())
}
