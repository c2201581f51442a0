//! A share of a run's tasks, for processes whose folders see nothing of each other.

use std::fmt;
use std::str::FromStr;

/// Share `index` of `count`: every `count`-th task. All cells of a task are in one share, as their prompts begin alike
/// and the engine computes a beginning once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    index: usize,
    count: usize,
}

impl Shard {
    /// All tasks.
    pub const WHOLE: Self = Self { index: 0, count: 1 };

    /// True when the share holds this task of the run.
    pub fn holds(self, task: usize) -> bool {
        task % self.count == self.index
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers = text.split_once('/').and_then(|(index, count)| {
            Some(Self { index: index.trim().parse().ok()?, count: count.trim().parse().ok()? })
        });
        match numbers {
            Some(shard) if shard.index < shard.count => Ok(shard),
            Some(Self { count, .. }) if count > 0 => {
                Err(format!("shares are counted from 0: 0/{count} to {}/{count}", count - 1))
            }
            _ => Err("a share and the number of shares is needed, for example 0/4, the first of four".into()),
        }
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_is_in_exactly_one_share() {
        for count in 1..9 {
            let shards: Vec<Shard> = (0..count).map(|i| format!("{i}/{count}").parse().unwrap()).collect();
            for task in 0..50 {
                assert_eq!(shards.iter().filter(|shard| shard.holds(task)).count(), 1, "{task} of {count}");
            }
        }
    }

    #[test]
    fn what_is_no_share_is_refused_with_what_is_one() {
        for (text, says) in [
            ("4/4", "0/4 to 3/4"),
            ("0/0", "0/4, the first of four"),
            ("1", "0/4, the first of four"),
            ("-1/4", "0/4, the first of four"),
            ("a/b", "0/4, the first of four"),
        ] {
            let error = text.parse::<Shard>().unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
        assert_eq!("3/4".parse::<Shard>().unwrap().to_string(), "3/4");
    }
}
