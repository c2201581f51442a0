//! Choosing tokens from log-probabilities.
//!
//! Sampling is an argmax: of the log-probabilities, tempered and cut to the allowed tokens, plus Gumbel noise
//! that is a pure function of (key, position, token). So a draw depends on nothing but its own row.

use serde::{Deserialize, Serialize};

use super::rng::RngKey;
use crate::model::cpu::ops;

/// How tokens are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Sampling {
    /// 0 is greedy; 1 is the model's own distribution.
    pub temperature: f32,
    /// Keep the smallest set of tokens with this much probability (after tempering); 1 keeps all.
    pub top_p: f32,
    /// Keep this many of the most probable tokens; 0 keeps all.
    pub top_k: usize,
}

impl Sampling {
    /// Always the most probable token.
    pub const GREEDY: Self = Self { temperature: 0.0, top_p: 1.0, top_k: 0 };
}

fn largest(x: &[f32]) -> f32 {
    let mut max = 0.0;
    ops::largest(x, &mut max);
    max
}

/// The most probable entry; the lowest index among equals.
pub fn argmax(x: &[f32]) -> usize {
    let max = largest(x);
    let mut found = Vec::new();
    ops::at_least(x, max, &mut found);
    found.first().map_or(0, |&(index, _)| index as usize)
}

/// The `n` largest entries as (index, value), largest first, lowest index first among equals.
pub fn top_n(x: &[f32], n: usize) -> Vec<(u32, f32)> {
    let mut best: Vec<(u32, f32)> = Vec::with_capacity(n + 1);
    let mut floor = f32::NEG_INFINITY;
    for (i, &v) in x.iter().enumerate() {
        if best.len() < n || v > floor {
            let at = best.partition_point(|&(_, b)| b >= v);
            best.insert(at, (i as u32, v));
            best.truncate(n);
            if best.len() == n {
                floor = best[n - 1].1;
            }
        }
    }
    best
}

/// Draws a token from normalised log-probabilities. `key` is the key of this branch at this position.
pub fn draw(logprobs: &[f32], sampling: Sampling, key: RngKey) -> u32 {
    if sampling.temperature <= 0.0 {
        return argmax(logprobs) as u32;
    }
    let inv = 1.0 / f64::from(sampling.temperature);
    let perturbed = |token: u32, logprob: f32| f64::from(logprob) * inv + key.gumbel(u64::from(token));
    let best = |tokens: &mut dyn Iterator<Item = (u32, f32)>| {
        tokens
            .map(|(t, l)| (t, perturbed(t, l)))
            .fold((0, f64::NEG_INFINITY), |a, b| if b.1 > a.1 { b } else { a })
            .0
    };
    if sampling.top_k == 0 && sampling.top_p >= 1.0 {
        return best(&mut logprobs.iter().enumerate().map(|(t, &l)| (t as u32, l)));
    }
    best(&mut allowed(logprobs, sampling).into_iter())
}

/// The tokens that `top_k` and `top_p` leave, most probable first.
fn allowed(logprobs: &[f32], sampling: Sampling) -> Vec<(u32, f32)> {
    let inv = 1.0 / f64::from(sampling.temperature);
    let k = if sampling.top_k == 0 { logprobs.len() } else { sampling.top_k.min(logprobs.len()) };
    let max = largest(logprobs);
    let weight = |l: f32| (f64::from(l - max) * inv).exp();
    // Most of a vocabulary holds next to nothing: sort only as far down as the cuts can reach.
    let mut reach = 12.0;
    loop {
        let floor = max - (reach / inv) as f32;
        let mut tokens = Vec::new();
        ops::at_least(logprobs, floor, &mut tokens);
        let whole = tokens.len() == logprobs.len();
        if sampling.top_k > 0 && tokens.len() < k && !whole {
            reach *= 4.0;
            continue;
        }
        tokens.sort_unstable_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        tokens.truncate(k);
        let total = if sampling.top_k > 0 {
            // top_k comes first; top_p is then a share of what it left.
            tokens.iter().map(|&(_, l)| weight(l)).sum::<f64>()
        } else {
            let mut total = 0.0;
            ops::sum_of_exponentials(logprobs, max, inv as f32, &mut total);
            f64::from(total)
        };
        let mut sum = 0.0;
        let cut = tokens.iter().position(|&(_, l)| {
            sum += weight(l);
            sum >= f64::from(sampling.top_p) * total
        });
        match cut {
            Some(last) => {
                tokens.truncate(last + 1);
                return tokens;
            }
            None if whole || sampling.top_k > 0 => return tokens,
            None => reach *= 4.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logs(p: &[f64]) -> Vec<f32> {
        p.iter().map(|p| p.ln() as f32).collect()
    }

    fn frequencies(logprobs: &[f32], sampling: Sampling, n: u64) -> Vec<f64> {
        let mut counts = vec![0.0; logprobs.len()];
        for i in 0..n {
            counts[draw(logprobs, sampling, RngKey::new(5).with(i)) as usize] += 1.0 / n as f64;
        }
        counts
    }

    #[test]
    fn samples_follow_the_distribution() {
        let p = [0.5, 0.3, 0.15, 0.05];
        let seen = frequencies(&logs(&p), Sampling { temperature: 1.0, top_p: 1.0, top_k: 0 }, 40_000);
        for (seen, p) in seen.iter().zip(p) {
            assert!((seen - p).abs() < 0.01, "{seen} {p}");
        }
    }

    #[test]
    fn temperature_and_cuts() {
        let l = logs(&[0.5, 0.3, 0.15, 0.05]);
        assert_eq!(draw(&l, Sampling::GREEDY, RngKey::new(0)), 0);
        let seen = frequencies(&l, Sampling { temperature: 0.5, top_p: 1.0, top_k: 2 }, 40_000);
        assert!((seen[0] - 0.25 / 0.34).abs() < 0.01 && seen[2] == 0.0, "{seen:?}");
        let seen = frequencies(&l, Sampling { temperature: 1.0, top_p: 0.79, top_k: 0 }, 40_000);
        assert!((seen[1] - 0.375).abs() < 0.01 && seen[2] == 0.0, "{seen:?}");
        let seen = frequencies(&l, Sampling { temperature: 1.0, top_p: 0.81, top_k: 0 }, 40_000);
        assert!(seen[2] > 0.1 && seen[3] == 0.0, "{seen:?}");
    }

    #[test]
    fn top_p_is_a_share_of_what_top_k_left_however_little_that_is() {
        // Two tokens, and very many that hold a quarter of it all, of which the third that is kept holds nothing.
        let mut l = vec![-13.0; 200_000];
        (l[5], l[9]) = (0.0, -std::f32::consts::LN_2);
        let tokens = |top_p| {
            let allowed = allowed(&l, Sampling { temperature: 1.0, top_p, top_k: 3 });
            allowed.into_iter().map(|(token, _)| token).collect::<Vec<_>>()
        };
        assert_eq!((tokens(0.6), tokens(0.7)), (vec![5], vec![5, 9]));
    }

    #[test]
    fn ties_go_to_the_lowest_index() {
        assert_eq!(argmax(&[1.0, 3.0, 3.0]), 1);
        assert_eq!(top_n(&[1.0, 3.0, 2.0, 3.0], 3), [(1, 3.0), (3, 3.0), (2, 2.0)]);
    }
}
