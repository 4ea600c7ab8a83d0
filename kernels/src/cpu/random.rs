//! Random numbers of sampling: Philox4x32-10 (Salmon et al. 2011), a counter-based generator. The same key and counter give the
//! same numbers on every backend, in any order.

use super::scalar::ln;

/// Counters of one call of [`gumbel_noise`], side by side in a vector.
const COUNTERS: usize = 16;

/// Codes of one call of [`gumbel_noise`]: four words of each counter.
pub(super) const CODES: usize = 4 * COUNTERS;

/// What the random numbers of one token depend on, besides its code.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slot {
    /// Low and high half of the seed.
    pub key: [u32; 2],
    /// Low 32 bits of the absolute frame.
    pub frame: u32,
    pub stream: u32,
    pub song: u32,
}

/// Gumbel noise −ln(−ln u) of a random word, u = ((word >> 9) + 0.5) · 2^-23: exact in f32, never 0 or 1.
#[inline(always)]
fn gumbel(word: u32) -> f32 {
    // A conversion of 23 bits is the same with a sign, and an instruction of AVX2.
    let u = ((word >> 9).cast_signed() as f32 + 0.5) * (1.0 / 8_388_608.0);
    -ln(-ln(u))
}

/// Gumbel noise of the codes from `first` on, a multiple of four.
#[inline(always)]
pub(super) fn gumbel_noise(slot: Slot, first: usize, noise: &mut [f32; CODES]) {
    let mut counters = [[0; COUNTERS], [slot.frame; COUNTERS], [slot.stream; COUNTERS], [slot.song; COUNTERS]];
    for (i, counter) in counters[0].iter_mut().enumerate() {
        *counter = (first / 4 + i) as u32;
    }
    philox(&mut counters, slot.key);
    let mut words = [0; CODES];
    for (i, words) in words.as_chunks_mut::<4>().0.iter_mut().enumerate() {
        *words = [counters[0][i], counters[1][i], counters[2][i], counters[3][i]];
    }
    for (noise, word) in noise.iter_mut().zip(&words) {
        *noise = gumbel(*word);
    }
}

/// Philox4x32 with 10 rounds, of several counters: four random words of each in place of its words.
#[inline(always)]
fn philox<const N: usize>(counters: &mut [[u32; N]; 4], mut key: [u32; 2]) {
    let [c0, c1, c2, c3] = counters;
    for round in 0..10 {
        if round > 0 {
            key = [key[0].wrapping_add(0x9E37_79B9), key[1].wrapping_add(0xBB67_AE85)];
        }
        for i in 0..N {
            let a = u64::from(c0[i]) * 0xD251_1F53;
            let b = u64::from(c2[i]) * 0xCD9E_8D57;
            c0[i] = (b >> 32) as u32 ^ c1[i] ^ key[0];
            c1[i] = b as u32;
            c2[i] = (a >> 32) as u32 ^ c3[i] ^ key[1];
            c3[i] = a as u32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Random123's published vectors (kat_vectors, philox4x32 10).
    #[test]
    fn philox_gives_the_published_vectors() {
        let cases: [([u32; 4], [u32; 2], [u32; 4]); 3] = [
            ([0; 4], [0; 2], [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]),
            ([u32::MAX; 4], [u32::MAX; 2], [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]),
            (
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
                [0xa409_3822, 0x299f_31d0],
                [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1],
            ),
        ];
        for (counter, key, want) in cases {
            let mut words = counter.map(|word| [word]);
            philox(&mut words, key);
            assert_eq!(words.map(|word| word[0]), want);
        }
    }

    #[test]
    fn noise_of_codes_does_not_depend_on_the_call_that_makes_it() {
        let slot = Slot { key: [5, 6], frame: 7, stream: 2, song: 1 };
        let (mut low, mut high) = ([0.0; CODES], [0.0; CODES]);
        gumbel_noise(slot, 0, &mut low);
        gumbel_noise(slot, CODES / 2, &mut high);
        assert_eq!(low[CODES / 2..], high[..CODES / 2]);
        assert!(low.iter().chain(&high).all(|noise| noise.is_finite()));
    }
}
