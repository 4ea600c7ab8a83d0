//! Random numbers of sampling: Philox4x32-10 (Salmon et al. 2011), a counter-based generator. The same key and counter give the
//! same numbers on every backend, in any order.

use super::scalar::ln;

/// Gumbel noise −ln(−ln u) of a random word, u = ((word >> 9) + 0.5) · 2^-23: exact in f32, never 0 or 1.
pub(super) fn gumbel(word: u32) -> f32 {
    let u = ((word >> 9) as f32 + 0.5) * (1.0 / 8_388_608.0);
    -ln(-ln(u))
}

/// Philox4x32 with 10 rounds: four random words.
pub(super) fn philox(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for round in 0..10 {
        if round > 0 {
            key = [key[0].wrapping_add(0x9E37_79B9), key[1].wrapping_add(0xBB67_AE85)];
        }
        let a = u64::from(counter[0]) * 0xD251_1F53;
        let b = u64::from(counter[2]) * 0xCD9E_8D57;
        counter = [(b >> 32) as u32 ^ counter[1] ^ key[0], b as u32, (a >> 32) as u32 ^ counter[3] ^ key[1], a as u32];
    }
    counter
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Random123's published vectors (kat_vectors, philox4x32 10).
    #[test]
    fn philox_gives_the_published_vectors() {
        let cases = [
            ([0; 4], [0; 2], [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]),
            ([u32::MAX; 4], [u32::MAX; 2], [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]),
            (
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
                [0xa409_3822, 0x299f_31d0],
                [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1],
            ),
        ];
        for (counter, key, want) in cases {
            assert_eq!(philox(counter, key), want);
        }
    }
}
