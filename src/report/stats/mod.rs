//! The statistics of the tables, one method a file. `docs/comparing.md` says what each number means.

mod bootstrap;
mod pass_at_k;
mod proportion;

pub use bootstrap::{RESAMPLES, intervals};
pub use pass_at_k::pass_at_k;
pub use proportion::{mcnemar, wilson};

/// The relative share of the base's failures that are solved: 100 (accuracy − base) / (100 − base), all in percent. `None` where
/// the base fails nothing.
pub fn rsr(accuracy: f64, base: f64) -> Option<f64> {
    (base < 100.0).then(|| 100.0 * (accuracy - base) / (100.0 - base))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of 40 failures among 100 tasks, 10 are solved: a quarter.
    #[test]
    fn rsr_is_the_share_of_failures_solved() {
        assert!((rsr(70.0, 60.0).unwrap() - 25.0).abs() < 1e-12);
        assert!((rsr(50.0, 60.0).unwrap() + 25.0).abs() < 1e-12);
        assert_eq!(rsr(100.0, 0.0), Some(100.0));
        assert_eq!(rsr(90.0, 100.0), None);
    }
}
