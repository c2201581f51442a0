//! pass@k without bias.

/// The probability that at least one of `k` attempts passes, drawn without replacement from `n` of which `c` passed:
/// 1 − C(n − c, k) / C(n, k) (Chen et al. 2021, section 2.1). As a product, which neither overflows nor cancels. `None` where
/// `n` attempts cannot tell: `k` is 0 or above `n`.
///
/// # Panics
/// When more passed than there are.
pub fn pass_at_k(n: usize, c: usize, k: usize) -> Option<f64> {
    assert!(c <= n, "{c} of {n} passed");
    if k == 0 || k > n {
        return None;
    }
    if n - c < k {
        return Some(1.0);
    }
    // C(n − c, k) / C(n, k) = Π (1 − k/i) for i from n − c + 1 to n.
    Some(1.0 - (n - c + 1..=n).map(|i| 1.0 - k as f64 / i as f64).product::<f64>())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// C(n, k), exactly.
    fn choose(n: usize, k: usize) -> u128 {
        (0..k).fold(1, |product, i| product * (n - i) as u128 / (i + 1) as u128)
    }

    #[test]
    fn it_is_one_minus_the_ratio_of_binomials() {
        for n in 1..=60 {
            for c in 0..=n {
                for k in 1..=n {
                    let none = if k > n - c { 0 } else { choose(n - c, k) };
                    let exact = 1.0 - none as f64 / choose(n, k) as f64;
                    let value = pass_at_k(n, c, k).unwrap();
                    assert!((value - exact).abs() < 1e-12, "n {n}, c {c}, k {k}: {value}, not {exact}");
                }
            }
        }
    }

    /// What it estimates: the share of all choices of `k` attempts that hold one which passed.
    #[test]
    fn it_counts_the_choices_that_hold_a_pass() {
        let (n, c) = (9, 2);
        for k in 1..=n {
            let choices = (0_u32..1 << n).filter(|set| set.count_ones() as usize == k);
            let (mut all, mut with_a_pass) = (0, 0);
            for set in choices {
                all += 1;
                with_a_pass += usize::from(set & ((1 << c) - 1) != 0);
            }
            let share = with_a_pass as f64 / all as f64;
            assert!((pass_at_k(n, c, k).unwrap() - share).abs() < 1e-12, "k {k}");
        }
    }

    #[test]
    fn it_is_stable_and_knows_its_limits() {
        // C(10⁶, 10³) has thousands of digits.
        let value = pass_at_k(1_000_000, 1_000, 1_000).unwrap();
        assert!((value - (1.0 - 0.999_f64.powi(1000))).abs() < 1e-3, "{value}");
        assert_eq!((pass_at_k(5, 2, 0), pass_at_k(5, 2, 6), pass_at_k(0, 0, 1)), (None, None, None));
        assert_eq!((pass_at_k(5, 0, 5), pass_at_k(5, 1, 5)), (Some(0.0), Some(1.0)));
    }
}
