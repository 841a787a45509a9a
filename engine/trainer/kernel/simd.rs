//! Loops compiled twice: for any processor of the platform, and for wider vectors where the processor has them. Both
//! give the same bits: sums have the order that the loops spell out, and `mul_add` rounds once on every machine.

/// Eight values side by side: one AVX register, two NEON ones.
pub(crate) type Lane = [f32; 8];

/// A loop with its arguments.
pub(crate) trait Loop {
    /// Runs it. Implementations are `#[inline(always)]`, or [`run`] has no effect on them.
    fn run(self);
}

/// Runs a loop with the widest vectors that this processor has.
pub(crate) fn run(work: impl Loop) {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx2,fma")]
        fn wide(work: impl Loop) {
            work.run();
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: the processor has AVX2 and FMA, as the line above found.
            unsafe { wide(work) };
            return;
        }
    }
    work.run();
}

/// `sum + factor * lane`.
#[inline(always)]
pub(crate) fn multiply_add(sum: &mut Lane, factor: f32, lane: &Lane) {
    for (sum, value) in sum.iter_mut().zip(lane) {
        *sum = factor.mul_add(*value, *sum);
    }
}
