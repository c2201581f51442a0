//! The CPU path: packed weights, their products, and the small operations around them.
//!
//! One rule holds for every operation here: a row's result depends on that row alone, in a fixed order of
//! floating-point operations. The number of threads, the other rows of the batch and the instruction set
//! (every path uses fused multiply-add in the same order, and integers are exact) never change a bit of it.

mod activations;
pub mod attention;
mod dense;
mod integer;
pub mod matmul;
pub mod ops;
pub mod packed;
pub(crate) mod simd;

pub use packed::PackedMatrix;

/// The instruction sets that the kernels make use of; a later one has all that the earlier ones have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Isa {
    /// Whatever the target guarantees.
    Portable,
    /// 256-bit vectors with fused multiply-add.
    Avx2,
    /// 512-bit vectors (AVX-512 F, BW, VL, DQ).
    Avx512,
    /// Dot products of bytes in 512-bit vectors.
    Vnni,
    /// Tile registers that multiply bytes.
    Amx,
}

impl Isa {
    const ALL: [Isa; 5] = [Isa::Portable, Isa::Avx2, Isa::Avx512, Isa::Vnni, Isa::Amx];

    /// What this machine has. `VIGOR_SIMD=vnni|avx512|avx2|portable` asks for less.
    pub fn detect() -> Self {
        static ISA: std::sync::OnceLock<Isa> = std::sync::OnceLock::new();
        *ISA.get_or_init(|| {
            let best = Self::of_machine();
            let wanted = std::env::var("VIGOR_SIMD").unwrap_or_default();
            Self::ALL.into_iter().find(|isa| isa.name() == wanted).map_or(best, |wanted| wanted.min(best))
        })
    }

    #[cfg(target_arch = "x86_64")]
    fn of_machine() -> Self {
        if !(is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")) {
            return Isa::Portable;
        }
        let avx512 = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512dq");
        if !avx512 {
            Isa::Avx2
        } else if !is_x86_feature_detected!("avx512vnni") {
            Isa::Avx512
        } else if !integer::has_tiles() {
            Isa::Vnni
        } else {
            Isa::Amx
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn of_machine() -> Self {
        Isa::Portable
    }

    /// Name for reports.
    pub fn name(self) -> &'static str {
        match self {
            Isa::Portable => "portable",
            Isa::Avx2 => "avx2",
            Isa::Avx512 => "avx512",
            Isa::Vnni => "vnni",
            Isa::Amx => "amx",
        }
    }
}
