//! How an input is damaged.

/// SplitMix64 (Steele, Lea, Flood 2014).
pub struct Dice(u64);

impl Dice {
    /// Dice of a seed.
    pub fn new(seed: u64) -> Self {
        Dice(seed)
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`; 0 where there is none.
    pub fn below(&mut self, n: usize) -> usize {
        if n == 0 { 0 } else { (self.bits() % n as u64) as usize }
    }

    /// One of several.
    pub fn one<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}

/// Numbers near which readers go wrong.
const EDGES: [u64; 12] =
    [0, 1, 2, 0x7f, 0xff, 0x7fff, 0xffff, 0x7fff_ffff, 0xffff_ffff, 1 << 40, 0x7fff_ffff_ffff_ffff, 0xffff_ffff_ffff_ffff];
/// And in text.
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

/// One to eight changes of one of the seeds, each somewhere.
pub fn damage(dice: &mut Dice, seeds: &[Vec<u8>], words: &[Vec<u8>], longest: usize) -> Vec<u8> {
    let mut bytes = dice.one(seeds).clone();
    // Often one change, which leaves the rest to be read.
    let changes = if dice.below(2) == 0 { 1 } else { 1 + dice.below(8) };
    for _ in 0..changes {
        let at = dice.below(bytes.len());
        let to = (at + 1 + dice.below(16)).min(bytes.len());
        match dice.below(12) {
            0 if !bytes.is_empty() => bytes[at] = dice.bits() as u8,
            1 if !bytes.is_empty() => bytes[at] ^= 1 << dice.below(8),
            2 if !bytes.is_empty() => drop(bytes.drain(at..to)),
            3 => bytes.insert(at, dice.bits() as u8),
            4 if dice.below(8) == 0 => bytes.truncate(at),
            5 | 6 => number(dice, &mut bytes, at),
            7 => {
                let width = *dice.one(&[1, 2, 4, 8]);
                let edge = dice.one(&EDGES).wrapping_add(dice.below(3) as u64).wrapping_sub(1).to_le_bytes();
                bytes.iter_mut().skip(at).zip(&edge[..width]).for_each(|(b, e)| *b = *e);
            }
            8 if !words.is_empty() => drop(bytes.splice(at..at, dice.one(words).iter().copied())),
            9 => {
                // A part of another input, or of this one, once more.
                let other = dice.one(seeds);
                let from = dice.below(other.len());
                let part = other[from..(from + 1 + dice.below(200)).min(other.len())].to_vec();
                let end = if dice.below(2) == 0 { at } else { (at + part.len()).min(bytes.len()) };
                bytes.splice(at..end, part);
            }
            10 if dice.below(16) == 0 => {
                // Deep nesting.
                let open = *dice.one(b"[{(\x85");
                bytes.splice(at..at, std::iter::repeat_n(open, 1 + dice.below(20_000)));
            }
            _ if !bytes.is_empty() => {
                let other = dice.below(bytes.len());
                bytes.swap(at, other);
            }
            _ => {}
        }
    }
    bytes.truncate(longest);
    bytes
}

/// Another number in place of the one that stands in the text after `at`.
fn number(dice: &mut Dice, bytes: &mut Vec<u8>, at: usize) {
    let Some(from) = bytes[at..].iter().position(u8::is_ascii_digit).map(|n| at + n) else { return };
    let len = bytes[from..].iter().take_while(|b| b.is_ascii_digit()).count();
    bytes.splice(from..from + len, dice.one(&NUMBERS).bytes());
}
