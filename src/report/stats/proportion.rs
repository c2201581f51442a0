//! Counts of tasks passed: an interval for one cell, a test for two.

/// The Wilson score interval at 95 % for `passed` of `total`, as fractions (Wilson 1927). `(0, 1)` for none.
pub fn wilson(passed: usize, total: usize) -> (f64, f64) {
    /// The 97.5 % quantile of the normal distribution.
    const Z: f64 = 1.959_963_984_540_054;
    if total == 0 {
        return (0.0, 1.0);
    }
    let n = total as f64;
    let rate = passed as f64 / n;
    let scale = 1.0 + Z * Z / n;
    let centre = (rate + Z * Z / (2.0 * n)) / scale;
    let half = Z / scale * (rate * (1.0 - rate) / n + Z * Z / (4.0 * n * n)).sqrt();
    // At the ends the bound is exactly 0 or 1, which rounding would miss.
    let low = if passed == 0 { 0.0 } else { (centre - half).max(0.0) };
    let high = if passed == total { 1.0 } else { (centre + half).min(1.0) };
    (low, high)
}

/// The exact two-sided McNemar test: the probability, were both cells equally good, of `gained` and
/// `lost` discordant tasks being at least as uneven (a binomial test with p = 1/2).
pub fn mcnemar(gained: usize, lost: usize) -> f64 {
    let n = gained + lost;
    if gained == lost {
        return 1.0;
    }
    let few = gained.min(lost);
    // Σ C(n, k) / 2ⁿ for k ≤ few, term by term in logarithms so that no term overflows.
    let mut log_term = -(n as f64) * std::f64::consts::LN_2;
    let mut sum = log_term.exp();
    for k in 1..=few {
        log_term += ((n - k + 1) as f64 / k as f64).ln();
        sum += log_term.exp();
    }
    (2.0 * sum).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bounds are where the observed rate lies z standard errors *of the bound* away.
    #[test]
    fn wilson_bounds_solve_their_equation() {
        for (passed, total) in [(21, 40), (1, 3), (99, 164), (499, 500)] {
            let (low, high) = wilson(passed, total);
            let rate = passed as f64 / total as f64;
            for bound in [low, high] {
                let distance = (rate - bound).abs() / (bound * (1.0 - bound) / total as f64).sqrt();
                assert!((distance - 1.959_964).abs() < 1e-5, "{passed}/{total}: {distance}");
            }
            assert!(low < rate && rate < high);
        }
        assert_eq!((wilson(0, 10).0, wilson(10, 10).1, wilson(0, 0)), (0.0, 1.0, (0.0, 1.0)));
        assert!((wilson(0, 10).1 - 0.277_53).abs() < 1e-5);
    }

    #[test]
    fn mcnemar_is_the_binomial_test() {
        assert_eq!(mcnemar(0, 0), 1.0);
        // 2 · (1 + 10) / 2¹⁰
        assert!((mcnemar(9, 1) - 22.0 / 1024.0).abs() < 1e-12);
        assert!((mcnemar(0, 5) - 2.0 / 32.0).abs() < 1e-12);
        assert!(mcnemar(3000, 2000) < 1e-10);
    }
}
