//! The paired bootstrap over tasks.

use std::collections::BTreeMap;

use crate::engine::RngKey;

/// Resamples of the tasks.
pub const RESAMPLES: usize = 10_000;

/// Columns whose means are kept at once; bounds the memory, changes no number.
const AT_ONCE: usize = 64;

/// 95 % intervals of the mean of each column by the bootstrap over tasks (Efron & Tibshirani 1993, section 13.3): tasks are
/// drawn with replacement [`RESAMPLES`] times, and the 2.5 % and 97.5 % percentiles of the means are taken.
///
/// A column has a value for each task, `None` where there is none; a column without values has no interval. Columns that
/// have values for the same tasks share the resamples, so that differences of one are paired with those of another. The
/// draws are numbered, not in an order: one `seed` gives the same intervals wherever and whenever they are asked for.
pub fn intervals(columns: &[Vec<Option<f64>>], seed: u64) -> Vec<Option<(f64, f64)>> {
    let mut alike: BTreeMap<Vec<bool>, Vec<usize>> = BTreeMap::new();
    for (at, column) in columns.iter().enumerate() {
        alike.entry(column.iter().map(Option::is_some).collect()).or_default().push(at);
    }
    let mut found = vec![None; columns.len()];
    for group in alike.values() {
        for group in group.chunks(AT_ONCE) {
            let values: Vec<Vec<f64>> =
                group.iter().map(|&at| columns[at].iter().flatten().copied().collect()).collect();
            for (&at, interval) in group.iter().zip(of_complete(&values, seed)) {
                found[at] = interval;
            }
        }
    }
    found
}

/// The same for columns of one length.
fn of_complete(columns: &[Vec<f64>], seed: u64) -> Vec<Option<(f64, f64)>> {
    let tasks = columns.first().map_or(0, Vec::len);
    if tasks == 0 {
        return vec![None; columns.len()];
    }
    let mut means = vec![Vec::with_capacity(RESAMPLES); columns.len()];
    let mut times = vec![0.0; tasks];
    for resample in 0..RESAMPLES {
        let key = RngKey::new(seed).with(resample as u64);
        times.fill(0.0);
        for draw in 0..tasks {
            // The number is below 1, so the task is one of them.
            times[(key.uniform(draw as u64) * tasks as f64) as usize] += 1.0;
        }
        for (means, column) in means.iter_mut().zip(columns) {
            means.push(dot(&times, column) / tasks as f64);
        }
    }
    means.into_iter().map(|means| Some(percentiles(means))).collect()
}

/// The 2.5 % and 97.5 % percentiles: as many means lie below the one as above the other.
fn percentiles(mut means: Vec<f64>) -> (f64, f64) {
    means.sort_unstable_by(f64::total_cmp);
    let beyond = means.len() / 40;
    (means[beyond], means[means.len() - 1 - beyond])
}

/// Σ a·b in eight sums, which the compiler can make vectors of.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0.0; 8];
    let (a_eights, b_eights) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f64 = a_eights.remainder().iter().zip(b_eights.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in a_eights.zip(b_eights) {
        for lane in 0..8 {
            sums[lane] += a[lane] * b[lane];
        }
    }
    sums.iter().sum::<f64>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(values: &[f64]) -> Vec<Option<f64>> {
        values.iter().copied().map(Some).collect()
    }

    /// All 6⁶ resamples of six values, each as likely as another, have exact percentiles.
    #[test]
    fn it_agrees_with_the_enumeration_of_all_resamples() {
        let values = [-1.0, 0.0, 0.3, 1.0, 1.7, 2.2];
        let mut means: Vec<f64> = (0..6_usize.pow(6))
            .map(|number| (0..6).map(|at| values[number / 6_usize.pow(at) % 6]).sum::<f64>() / 6.0)
            .collect();
        means.sort_by(f64::total_cmp);
        let exact = |share: f64| means[(share * means.len() as f64) as usize];
        for seed in 0..3 {
            let (low, high) = intervals(&[column(&values)], seed)[0].unwrap();
            // Ten thousand draws know a share of 2.5 % to within 0.16 % (one standard error); four of them are allowed.
            assert!(exact(0.0187) <= low && low <= exact(0.0313), "{low}: {}", exact(0.025));
            assert!(exact(0.9687) <= high && high <= exact(0.9813), "{high}: {}", exact(0.975));
        }
    }

    /// For large samples the interval of a mean is the normal one.
    #[test]
    fn it_is_the_normal_interval_for_many_tasks() {
        let key = RngKey::new(9);
        let values: Vec<f64> = (0..2000).map(|i| f64::from(u8::from(key.uniform(i) < 0.3))).collect();
        let mean = values.iter().sum::<f64>() / 2000.0;
        let half = 1.96 * (mean * (1.0 - mean) / 2000.0).sqrt();
        let (low, high) = intervals(&[column(&values)], 1)[0].unwrap();
        assert!((low - (mean - half)).abs() < 0.1 * half, "{low} {}", mean - half);
        assert!((high - (mean + half)).abs() < 0.1 * half, "{high} {}", mean + half);
    }

    #[test]
    fn it_depends_on_the_column_and_the_seed_alone() {
        let a = column(&[1.0, 0.0, 0.0, 1.0, 0.5, 0.0, 1.0, 0.0, 0.25, 1.0]);
        let mut gaps = a.clone();
        gaps.extend([None, None]);
        let constant = vec![Some(0.5); 10];
        let mut many = vec![a.clone(), gaps, constant, vec![None; 10], Vec::new()];
        many.extend(vec![a.clone(); 2 * AT_ONCE]);
        let alone = intervals(std::slice::from_ref(&a), 7)[0];
        let together = intervals(&many, 7);
        assert_eq!(together[0], alone);
        assert_eq!(together[1], alone, "tasks without a value are not there");
        assert_eq!(together[2], Some((0.5, 0.5)));
        assert_eq!((together[3], together[4]), (None, None));
        assert!(together[5..].iter().all(|interval| *interval == alone));
        let rough = column(&[0.1, 0.2, 0.7, 0.35, 1.9, 4.4, 2.3, 0.01, 0.8, 3.6, 7.1, 0.05]);
        assert_ne!(intervals(std::slice::from_ref(&rough), 8), intervals(&[rough], 9));
    }
}
