//! The CPU path: packed weights, their products, and the small operations around them.
//!
//! One rule holds for every operation here: a row's result depends on that row alone, in a fixed order of
//! floating-point operations. The number of threads, the other rows of the batch and the instruction set
//! (every path uses fused multiply-add in the same order) never change a bit of it.

pub mod attention;
pub mod matmul;
pub mod ops;
pub mod packed;
pub(crate) mod simd;

pub use packed::PackedMatrix;

/// The instruction sets that the kernels make use of, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isa {
    /// 512-bit vectors (AVX-512 F, BW, VL, DQ).
    Avx512,
    /// 256-bit vectors with fused multiply-add.
    Avx2,
    /// Whatever the target guarantees.
    Portable,
}

impl Isa {
    /// What this machine has. `VIGOR_SIMD=avx2|portable` asks for less.
    pub fn detect() -> Self {
        static ISA: std::sync::OnceLock<Isa> = std::sync::OnceLock::new();
        *ISA.get_or_init(|| {
            let wanted = std::env::var("VIGOR_SIMD").unwrap_or_default();
            #[cfg(target_arch = "x86_64")]
            {
                let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
                let avx512 = avx2
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512dq");
                if avx512 && !matches!(wanted.as_str(), "avx2" | "portable") {
                    return Isa::Avx512;
                }
                if avx2 && wanted != "portable" {
                    return Isa::Avx2;
                }
            }
            let _ = wanted;
            Isa::Portable
        })
    }

    /// Name for reports.
    pub fn name(self) -> &'static str {
        match self {
            Isa::Avx512 => "avx512",
            Isa::Avx2 => "avx2",
            Isa::Portable => "portable",
        }
    }
}
