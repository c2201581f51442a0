//! Compiles one piece of portable code for each instruction set and picks at run time.

/// Defines a function whose body is compiled three times: for AVX-512, for AVX2 with FMA, and for the base
/// target. The body is ordinary code over slices, written so that the compiler turns it into vectors; since
/// it says `mul_add` where a fused operation is meant, all three give the same bits.
macro_rules! multiversion {
    ($(#[$meta:meta])* $vis:vis fn $name:ident($($arg:ident : $ty:ty),* $(,)?) $body:block) => {
        $(#[$meta])*
        #[allow(clippy::too_many_arguments)]
        $vis fn $name($($arg: $ty),*) {
            #[inline(always)]
            #[allow(clippy::too_many_arguments)]
            fn body($($arg: $ty),*) $body

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx2,fma")]
            #[allow(clippy::too_many_arguments)]
            fn avx512($($arg: $ty),*) { body($($arg),*) }

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            #[allow(clippy::too_many_arguments)]
            fn avx2($($arg: $ty),*) { body($($arg),*) }

            #[cfg(target_arch = "x86_64")]
            match $crate::model::cpu::Isa::detect() {
                $crate::model::cpu::Isa::Portable => body($($arg),*),
                // SAFETY: `Isa::detect` returns a set only when the machine has it.
                $crate::model::cpu::Isa::Avx2 => unsafe { avx2($($arg),*) },
                // SAFETY: as above; the later sets contain this one.
                _ => unsafe { avx512($($arg),*) },
            }
            #[cfg(not(target_arch = "x86_64"))]
            body($($arg),*)
        }
    };
}

pub(crate) use multiversion;
