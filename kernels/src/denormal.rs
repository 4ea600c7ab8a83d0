//! Turns denormal floats off. Arithmetic on them is up to a hundred times slower, and a signal that fades out reaches them.

/// Flushes denormal results and operands to zero on this thread (FTZ and DAZ). Threads that it starts inherit the setting, so
/// call it before the first worker is started: then all of them compute the same bits. Does nothing on CPUs other than x86-64
/// and AArch64.
pub fn off() {
    #[cfg(target_arch = "x86_64")]
    {
        let mut mode: u32 = 0;
        // SAFETY: stores the 4 bytes of MXCSR into `mode`.
        unsafe { std::arch::asm!("stmxcsr [{}]", in(reg) &mut mode, options(nostack)) };
        mode |= 1 << 15 | 1 << 6;
        // SAFETY: the value just read with FTZ (bit 15) and DAZ (bit 6) set: no reserved bit, no exception unmasked.
        unsafe { std::arch::asm!("ldmxcsr [{}]", in(reg) &mode, options(nostack, readonly)) };
    }
    #[cfg(target_arch = "aarch64")]
    {
        let mut mode: u64;
        // SAFETY: reads FPCR.
        unsafe { std::arch::asm!("mrs {}, fpcr", out(reg) mode, options(nomem, nostack)) };
        mode |= 1 << 24;
        // SAFETY: the value just read with FZ (bit 24) set.
        unsafe { std::arch::asm!("msr fpcr, {}", in(reg) mode, options(nomem, nostack)) };
    }
}

#[cfg(test)]
mod tests {
    use std::hint::black_box;

    #[test]
    fn denormals_are_zero_on_this_thread_and_on_those_it_starts() {
        let tiny = || black_box(f32::MIN_POSITIVE) * black_box(0.5);
        std::thread::spawn(move || {
            assert!(tiny() > 0.0, "denormals are on by default");
            super::off();
            let below = std::thread::spawn(move || (tiny(), black_box(f32::from_bits(1)) * black_box(2.0)));
            if cfg!(any(target_arch = "x86_64", target_arch = "aarch64")) {
                assert_eq!((tiny(), below.join().unwrap()), (0.0, (0.0, 0.0)));
            }
        })
        .join()
        .unwrap();
        assert!(tiny() > 0.0, "other threads are not affected");
    }
}
