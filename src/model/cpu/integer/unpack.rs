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
    let nibble = _mm512_set1_epi8(0xf);
    let shift = _mm512_set1_epi8(shift as i8);
    let sixteen = _mm512_set1_epi8(16);
    for (j, low) in low.iter().enumerate() {
        // SAFETY: the caller's promise; lines are aligned.
        unsafe {
            let low = _mm512_load_si512(std::ptr::from_ref(low).cast());
            let mut first = _mm512_add_epi8(_mm512_and_si512(low, nibble), shift);
            let mut second = _mm512_add_epi8(_mm512_and_si512(_mm512_srli_epi16::<4>(low), nibble), shift);
            if let Some(fifth) = fifth {
                let fifth = *fifth.get_unchecked(j);
                first = _mm512_mask_add_epi8(first, fifth[0], first, sixteen);
                second = _mm512_mask_add_epi8(second, fifth[1], second, sixteen);
            }
            let out = out.as_mut_ptr().add(2 * j);
            _mm512_store_si512(out.cast(), first);
            _mm512_store_si512(out.add(1).cast(), second);
        }
    }
}
