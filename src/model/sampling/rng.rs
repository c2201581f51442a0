//! Counter-based randomness: a number is a pure function of what it is for, never of when it is drawn.

/// A key: the run's seed mixed with task, step and candidate. Equal parts give equal keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RngKey(u64);

/// The finaliser of SplitMix64 (Steele, Lea & Flood 2014): a bijection that flips each bit with probability ½.
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

impl RngKey {
    /// The key of a run.
    pub fn new(seed: u64) -> Self {
        Self(mix(seed.wrapping_add(STEP)))
    }

    /// The key of a numbered part (step, candidate, position …) of what `self` stands for.
    pub fn with(self, part: u64) -> Self {
        Self(mix(self.0.rotate_left(23) ^ mix(part.wrapping_add(1).wrapping_mul(STEP))))
    }

    /// The key of a named part (a task).
    pub fn with_name(self, name: &str) -> Self {
        name.bytes().fold(self.with(name.len() as u64), |key, b| key.with(u64::from(b)))
    }

    /// The key as a number, for who draws elsewhere.
    pub fn bits(self) -> u64 {
        self.0
    }

    /// A uniform number in (0, 1) for entry `index`.
    pub fn uniform(self, index: u64) -> f64 {
        let bits = mix(self.0.wrapping_add(index.wrapping_add(1).wrapping_mul(STEP)));
        ((bits >> 11) as f64 + 0.5) * (1.0 / (1u64 << 53) as f64)
    }

    /// A standard Gumbel number for entry `index`: `−ln(−ln u)`.
    pub fn gumbel(self, index: u64) -> f64 {
        -(-self.uniform(index).ln()).ln()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_differ_by_each_part_and_order() {
        let key = RngKey::new(7);
        assert_eq!(key.with(1).with(2), RngKey::new(7).with(1).with(2));
        assert_ne!(key.with(1).with(2), key.with(2).with(1));
        assert_ne!(key.with_name("a/1"), key.with_name("a/2"));
        assert_ne!(key, RngKey::new(8));
    }

    #[test]
    fn uniform_and_gumbel_have_their_moments() {
        let (key, n) = (RngKey::new(1).with(3), 200_000);
        let mean = (0..n).map(|i| key.uniform(i)).sum::<f64>() / n as f64;
        assert!((mean - 0.5).abs() < 0.003, "{mean}");
        let gumbel = (0..n).map(|i| key.gumbel(i)).sum::<f64>() / n as f64;
        assert!((gumbel - 0.577_215_66).abs() < 0.01, "{gumbel}");
    }
}
