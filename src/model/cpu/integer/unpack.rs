//! Turning a panel of nibbles into one of bytes.

use crate::model::cpu::Isa;
use crate::model::cpu::packed::{Line, ZERO};
use crate::model::cpu::simd::multiversion;

/// Writes two lines for each line of nibbles: the first half of the panel, then the second. Afterwards the integers'
/// zero is [`ZERO`].
pub(super) fn unpack(isa: Isa, low: &[Line], fifth: Option<&[[u64; 2]]>, zero: i32, out: &mut [Line]) {
    let shift = (ZERO - zero) as u8;
    assert!(out.len() == 2 * low.len() && fifth.is_none_or(|fifth| fifth.len() == low.len()));
    #[cfg(target_arch = "x86_64")]
    if isa >= Isa::Avx512 {
        // SAFETY: the instruction set was detected; the lengths were checked above.
        unsafe { avx512(low, fifth, shift, out) };
        return;
    }
    let _ = isa;
    portable(low, fifth, shift, out);
}

multiversion! {
    fn portable(low: &[Line], fifth: Option<&[[u64; 2]]>, shift: u8, out: &mut [Line]) {
        for (j, (low, out)) in low.iter().zip(out.as_chunks_mut::<2>().0).enumerate() {
            let fifth = fifth.map_or([0; 2], |fifth| fifth[j]);
            for i in 0..64 {
                let bit = |half: usize| (((fifth[half] >> i) & 1) << 4) as u8;
                out[0].0[i] = ((low.0[i] & 0xf) | bit(0)) + shift;
                out[1].0[i] = ((low.0[i] >> 4) | bit(1)) + shift;
            }
        }
    }
}

/// # Safety
/// AVX-512 F and BW; `out` has two lines for each line of `low`, `fifth` one entry.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
unsafe fn avx512(low: &[Line], fifth: Option<&[[u64; 2]]>, shift: u8, out: &mut [Line]) {
    use std::arch::x86_64::*;
    for (j, low) in low.iter().enumerate() {
        // SAFETY: the caller's promise; lines are aligned.
        unsafe {
            let fifth = fifth.map(|fifth| *fifth.get_unchecked(j));
            let [first, second] = bytes_of(low, fifth, shift);
            let out = out.as_mut_ptr().add(2 * j);
            _mm512_store_si512(out.cast(), first);
            _mm512_store_si512(out.add(1).cast(), second);
        }
    }
}

/// The bytes of a line of nibbles, `shift` added: the first half of the panel, then the second.
///
/// # Safety
/// AVX-512 F and BW.
#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
pub(super) unsafe fn bytes_of(
    low: &Line,
    fifth: Option<[u64; 2]>,
    shift: u8,
) -> [std::arch::x86_64::__m512i; 2] {
    use std::arch::x86_64::*;
    let (nibble, sixteen) = (_mm512_set1_epi8(0xf), _mm512_set1_epi8(16));
    let shift = _mm512_set1_epi8(shift as i8);
    // SAFETY: a line is a vector, and aligned.
    let low = unsafe { _mm512_load_si512(std::ptr::from_ref(low).cast()) };
    let first = _mm512_add_epi8(_mm512_and_si512(low, nibble), shift);
    let second = _mm512_add_epi8(_mm512_and_si512(_mm512_srli_epi16::<4>(low), nibble), shift);
    match fifth {
        None => [first, second],
        Some([a, b]) => {
            [_mm512_mask_add_epi8(first, a, first, sixteen), _mm512_mask_add_epi8(second, b, second, sixteen)]
        }
    }
}
