//! SentencePiece's compiled normalization rules: checked before the crate that plays them sees them, for it trusts them.
//!
//! They are a u32 n, n bytes of a double array (u32 units), and texts that end with zeros. A unit's low byte is its label, bit 8 says
//! that a value follows, bits 10 and up (shifted by 8 where bit 9 is set) are the offset to the next units.

/// Checks that a walk along any text stays inside of the array and ends in a text.
///
/// # Errors
/// What is wrong, in words.
pub fn check(rules: &[u8]) -> Result<(), String> {
    let wrong = |what: &str| Err(format!("its normalization rules are damaged: {what}"));
    let Some((len, rest)) = rules.split_first_chunk::<4>() else { return wrong("they are cut short") };
    let len = u32::from_le_bytes(*len) as usize;
    if len > rest.len() || !len.is_multiple_of(4) || len == 0 {
        return wrong("they are cut short");
    }
    let units: Vec<usize> = rest[..len].chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]) as usize).collect();
    let Ok(texts) = std::str::from_utf8(&rest[len..]) else { return wrong("a text is not UTF-8") };
    let offset = |unit: usize| (unit >> 10) << ((unit & (1 << 9)) >> 6);
    // From each base that a walk can be at, any byte may come next.
    let mut seen = vec![false; units.len()];
    let mut bases = vec![offset(units[0])];
    while let Some(base) = bases.pop() {
        if base >= units.len() || std::mem::replace(&mut seen[base], true) {
            if base >= units.len() {
                return wrong("a step leads out of the array");
            }
            continue;
        }
        for byte in 1..=255usize {
            let Some(unit) = units.get(base ^ byte) else { return wrong("a step leads out of the array") };
            if unit & (1 << 31 | 0xff) != byte {
                continue;
            }
            let next = (base ^ byte) ^ offset(*unit);
            if unit >> 8 & 1 == 1 {
                let value = units.get(next).map(|u| u & ((1 << 31) - 1));
                if !value.is_some_and(|at| texts.is_char_boundary(at)) {
                    return wrong("a value is no text");
                }
            }
            bases.push(next);
        }
    }
    Ok(())
}
