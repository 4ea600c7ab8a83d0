//! Mutation of fuzz inputs.

use crate::rng::Rng;

/// Integers at the limits of their types.
const EDGES: [u64; 12] =
    [0, 1, 2, 0x7f, 0xff, 0x7fff, 0xffff, 0x7fff_ffff, 0xffff_ffff, 1 << 40, 0x7fff_ffff_ffff_ffff, 0xffff_ffff_ffff_ffff];
/// Numbers in text that readers often get wrong.
const NUMBERS: [&str; 14] = [
    "0",
    "-1",
    "1",
    "2",
    "31",
    "64",
    "65537",
    "4294967295",
    "4294967296",
    "9223372036854775807",
    "18446744073709551615",
    "1e999",
    "0.5",
    "null",
];

/// A copy of one seed with one to eight random changes, cut to `max_len` bytes. `tokens` are inserted at times.
pub fn mutate(rng: &mut Rng, seeds: &[Vec<u8>], tokens: &[Vec<u8>], max_len: usize) -> Vec<u8> {
    let mut bytes = rng.pick(seeds).clone();
    // Half of the inputs have one change only, so that a reader gets past it to the rest of the file.
    let changes = if rng.below(2) == 0 { 1 } else { 1 + rng.below(8) };
    for _ in 0..changes {
        let at = rng.below(bytes.len());
        let to = (at + 1 + rng.below(16)).min(bytes.len());
        match rng.below(12) {
            0 if !bytes.is_empty() => bytes[at] = rng.bits() as u8,
            1 if !bytes.is_empty() => bytes[at] ^= 1 << rng.below(8),
            2 if !bytes.is_empty() => drop(bytes.drain(at..to)),
            3 => bytes.insert(at, rng.bits() as u8),
            4 if rng.below(8) == 0 => bytes.truncate(at),
            5 | 6 => replace_number(rng, &mut bytes, at),
            7 => {
                let width = *rng.pick(&[1, 2, 4, 8]);
                let edge = rng.pick(&EDGES).wrapping_add(rng.below(3) as u64).wrapping_sub(1).to_le_bytes();
                bytes.iter_mut().skip(at).zip(&edge[..width]).for_each(|(b, e)| *b = *e);
            }
            8 if !tokens.is_empty() => drop(bytes.splice(at..at, rng.pick(tokens).iter().copied())),
            9 => {
                // A part of a seed, inserted or written over what is there.
                let other = rng.pick(seeds);
                let from = rng.below(other.len());
                let part = other[from..(from + 1 + rng.below(200)).min(other.len())].to_vec();
                let end = if rng.below(2) == 0 { at } else { (at + part.len()).min(bytes.len()) };
                bytes.splice(at..end, part);
            }
            10 if rng.below(16) == 0 => {
                // Deep nesting.
                let open = *rng.pick(b"[{(\x85");
                bytes.splice(at..at, std::iter::repeat_n(open, 1 + rng.below(20_000)));
            }
            _ if !bytes.is_empty() => {
                let other = rng.below(bytes.len());
                bytes.swap(at, other);
            }
            _ => {}
        }
    }
    bytes.truncate(max_len);
    bytes
}

/// Replaces the first decimal number after `at`.
fn replace_number(rng: &mut Rng, bytes: &mut Vec<u8>, at: usize) {
    let Some(from) = bytes[at..].iter().position(u8::is_ascii_digit).map(|n| at + n) else { return };
    let len = bytes[from..].iter().take_while(|b| b.is_ascii_digit()).count();
    bytes.splice(from..from + len, rng.pick(&NUMBERS).bytes());
}
