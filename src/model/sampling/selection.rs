//! What is chosen from rows of log-probabilities, and what is told of it.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::mpsc::Sender;

use super::sampler::{argmax, draw, top_n};
use super::{Guidance, RngKey, Sampling};
use crate::model::cpu::ops;
use crate::team;

/// Log-probabilities over the vocabulary of what follows a token, normalised. They stay where the model computed them;
/// clones share them.
#[derive(Debug, Clone)]
pub struct Logprobs(Place);

#[derive(Debug, Clone)]
enum Place {
    Host(Arc<Vec<f32>>),
    Device(Arc<DeviceRow>),
}

/// A row in a device's memory. The device may use it again when its index has come back.
#[derive(Debug)]
struct DeviceRow {
    index: u32,
    returned: Sender<u32>,
}

impl Drop for DeviceRow {
    fn drop(&mut self) {
        // A device that is gone needs no row.
        let _ = self.returned.send(self.index);
    }
}

impl Logprobs {
    /// A row in the host's memory.
    pub fn on_host(row: Vec<f32>) -> Self {
        Self(Place::Host(Arc::new(row)))
    }

    /// A numbered row in a device's memory; `returned` gets the number when the last clone is gone.
    pub fn on_device(index: u32, returned: Sender<u32>) -> Self {
        Self(Place::Device(Arc::new(DeviceRow { index, returned })))
    }

    /// The row, where the host has it.
    pub fn host(&self) -> Option<&[f32]> {
        match &self.0 {
            Place::Host(row) => Some(row),
            Place::Device(_) => None,
        }
    }

    /// The number of the row, where a device has it.
    pub fn device(&self) -> Option<u32> {
        match &self.0 {
            Place::Host(_) => None,
            Place::Device(row) => Some(row.index),
        }
    }
}

/// One choice of tokens from what follows a sequence.
#[derive(Debug, Clone)]
pub struct Selection {
    /// What the plain stream says.
    pub plain: Logprobs,
    /// What the stream says that sees the signal, and how the two mix.
    pub guided: Option<(Logprobs, Guidance)>,
    /// Which tokens.
    pub choice: Choice,
    /// Leading alternatives to report.
    pub alternatives: usize,
    /// The next selection of its chain is wanted only where this one chooses that token.
    pub expects: Option<u32>,
}

/// How tokens are chosen: from the mix where two streams mix, else from the plain stream.
#[derive(Debug, Clone, Copy)]
pub enum Choice {
    /// One token, drawn.
    Draw {
        /// How.
        sampling: Sampling,
        /// The key of this branch at this position.
        key: RngKey,
    },
    /// The most probable tokens, in their order (beams).
    Best {
        /// How many.
        n: usize,
    },
    /// The tokens whose `score + tempered + noise` is largest, in their order (stochastic beams). The sum is made in f64
    /// and rounded to f32.
    Perturbed {
        /// How many.
        n: usize,
        /// Temperature of the distribution; 0 leaves it as it is.
        temperature: f32,
        /// What the tokens before add to the sum.
        score: f64,
        /// The noise of a token is the Gumbel number that this key has for it.
        key: RngKey,
    },
    /// This token (scoring).
    Given {
        /// The token.
        token: u32,
    },
}

/// What a [`Selection`] came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Selected {
    /// The chosen tokens.
    pub tokens: Vec<Chosen>,
    /// The leading entries of what was chosen from, as many as were asked for; then the favourite of the plain stream,
    /// where two streams mix and it is not among them (so that a reader sees what guidance changed).
    pub leading: Alternatives,
}

/// The leading alternatives at one position: token, log p, and log q where a second stream guided.
pub type Alternatives = Vec<(u32, f32, Option<f32>)>;

/// A chosen token and its numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Chosen {
    /// The token.
    pub token: u32,
    /// Its log-probability under the plain stream.
    pub logprob: f32,
    /// The same under the stream that sees the signal.
    pub guided: Option<f32>,
    /// Log-probability at the temperature of [`Choice::Perturbed`]; of other choices, `logprob`.
    pub tempered: f32,
    /// The sum of [`Choice::Perturbed`]; of other choices, 0.
    pub perturbed: f32,
}

/// Chooses from rows in the host's memory. Chains do not wait for each other; a chain ends at the first selection that
/// chooses another token than it expects.
///
/// # Panics
/// A row is on a device: only its model can choose from it.
pub fn select_on_host(chains: &[Vec<Selection>]) -> Vec<Vec<Selected>> {
    team::map(chains.iter(), |chain| {
        let (mut selected, mut mixed) = (Vec::new(), Vec::new());
        for selection in chain {
            let one = selection.select(&mut mixed);
            let as_expected =
                selection.expects.is_some_and(|token| one.tokens.first().is_some_and(|c| c.token == token));
            selected.push(one);
            if !as_expected {
                break;
            }
        }
        selected
    })
}

impl Selection {
    fn select(&self, mixed: &mut Vec<f32>) -> Selected {
        const HERE: &str = "a model with rows elsewhere chooses from them itself";
        let p = self.plain.host().expect(HERE);
        let guided = self.guided.as_ref().map(|(q, guidance)| (q.host().expect(HERE), guidance));
        let q = guided.map(|(q, _)| q);
        let w = guided.map_or(p, |(q, guidance)| guidance.mix(p, q, mixed));
        let chosen = |token: u32| {
            let logprob = p[token as usize];
            let guided = q.map(|q| q[token as usize]);
            Chosen { token, logprob, guided, tempered: logprob, perturbed: 0.0 }
        };
        let tokens = match self.choice {
            Choice::Draw { sampling, key } => vec![chosen(draw(w, sampling, key))],
            Choice::Best { n } => top_n(w, n).into_iter().map(|(token, _)| chosen(token)).collect(),
            Choice::Perturbed { n, temperature, score, key } => {
                let tempered = temper(w, temperature);
                let noisy = |(t, &l): (usize, &f32)| (score + f64::from(l) + key.gumbel(t as u64)) as f32;
                let perturbed: Vec<f32> = tempered.iter().enumerate().map(noisy).collect();
                let numbers = |(token, perturbed)| Chosen {
                    tempered: tempered[token as usize],
                    perturbed,
                    ..chosen(token)
                };
                top_n(&perturbed, n).into_iter().map(numbers).collect()
            }
            Choice::Given { token } => vec![chosen(token)],
        };
        Selected { tokens, leading: leading(w, self.alternatives, p, q) }
    }
}

/// A distribution at a temperature, normalised.
fn temper(logprobs: &[f32], temperature: f32) -> Cow<'_, [f32]> {
    if temperature == 1.0 || temperature <= 0.0 {
        return logprobs.into();
    }
    let mut tempered: Vec<f32> = logprobs.iter().map(|l| l / temperature).collect();
    ops::log_softmax(&mut tempered);
    tempered.into()
}

fn leading(w: &[f32], n: usize, p: &[f32], q: Option<&[f32]>) -> Alternatives {
    if n == 0 {
        return Vec::new();
    }
    let mut tokens: Vec<u32> = top_n(w, n).into_iter().map(|(token, _)| token).collect();
    let favourite = q.map(|_| argmax(p) as u32);
    tokens.extend(favourite.filter(|token| !tokens.contains(token)));
    tokens.into_iter().map(|t| (t, p[t as usize], q.map(|q| q[t as usize]))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(p: &[f64]) -> Logprobs {
        Logprobs::on_host(p.iter().map(|p| p.ln() as f32).collect())
    }

    fn select(plain: &Logprobs, choice: Choice) -> Selection {
        Selection { plain: plain.clone(), guided: None, choice, alternatives: 0, expects: None }
    }

    fn tokens(selected: &Selected) -> Vec<u32> {
        selected.tokens.iter().map(|chosen| chosen.token).collect()
    }

    fn greedy() -> Choice {
        Choice::Draw { sampling: Sampling::GREEDY, key: RngKey::new(0) }
    }

    #[test]
    fn a_chain_ends_where_another_token_comes() {
        let rows = [row(&[0.7, 0.2, 0.1]), row(&[0.2, 0.7, 0.1]), row(&[0.1, 0.2, 0.7])];
        let chain = |expects: [Option<u32>; 3]| -> Vec<Selection> {
            let selection = |(row, expects)| Selection { expects, ..select(row, greedy()) };
            rows.iter().zip(expects).map(selection).collect()
        };
        let chains = [
            chain([Some(0), Some(1), Some(2)]),
            chain([Some(0), Some(2), None]),
            chain([None, Some(1), None]),
        ];
        let chosen: Vec<Vec<u32>> =
            select_on_host(&chains).iter().map(|chain| chain.iter().flat_map(tokens).collect()).collect();
        assert_eq!(chosen, [vec![0, 1, 2], vec![0, 1], vec![0]]);
    }

    #[test]
    fn each_choice_tells_its_numbers() {
        let p = row(&[0.15, 0.5, 0.05, 0.3]);
        let l = p.host().expect("on the host");
        let (key, score) = (RngKey::new(4), -2.5);
        let choices = [
            Choice::Best { n: 3 },
            Choice::Given { token: 2 },
            Choice::Perturbed { n: 4, temperature: 0.5, score, key },
            Choice::Perturbed { n: 1, temperature: 0.0, score, key },
        ];
        let chains: Vec<_> = choices.into_iter().map(|choice| vec![select(&p, choice)]).collect();
        let selected: Vec<Selected> = select_on_host(&chains).into_iter().flatten().collect();
        assert_eq!([tokens(&selected[0]), tokens(&selected[1])], [vec![1, 3, 0], vec![2]]);
        for c in selected[..2].iter().flat_map(|s| &s.tokens) {
            let logprob = l[c.token as usize];
            assert_eq!((c.logprob, c.tempered, c.perturbed, c.guided), (logprob, logprob, 0.0, None));
        }
        let all = &selected[2].tokens;
        assert!(all.len() == 4 && all.windows(2).all(|w| w[0].perturbed >= w[1].perturbed));
        // Squares of the probabilities, which add up to 0.365.
        for c in all {
            let logprob = l[c.token as usize];
            assert_eq!(c.logprob, logprob);
            assert!((c.tempered - (2.0 * logprob - 0.365f32.ln())).abs() < 1e-5, "{c:?}");
            let sum = score + f64::from(c.tempered) + key.gumbel(u64::from(c.token));
            assert_eq!(c.perturbed, sum as f32);
        }
        let [cold] = selected[3].tokens[..] else { panic!("one was asked for") };
        assert_eq!(cold.tempered, cold.logprob);
    }

    #[test]
    fn a_mix_is_chosen_from_and_the_plain_favourite_told() {
        let (p, q) = (row(&[0.6, 0.2, 0.1, 0.1]), row(&[0.1, 0.2, 0.1, 0.6]));
        let guided = |gamma, choice| Selection {
            guided: Some((q.clone(), Guidance { gamma, epsilon: 0.0 })),
            alternatives: 2,
            ..select(&p, choice)
        };
        let chains = [vec![guided(2.0, greedy())], vec![guided(0.0, greedy())]];
        let [mixed, plain] = <[_; 2]>::try_from(select_on_host(&chains).concat()).expect("two");
        let numbers = |t: usize| {
            let at = |row: &Logprobs| row.host().expect("on the host")[t];
            (t as u32, at(&p), Some(at(&q)))
        };
        assert_eq!(mixed.leading, [numbers(3), numbers(1), numbers(0)]);
        let chosen = mixed.tokens[0];
        assert_eq!((chosen.token, chosen.logprob, chosen.guided), numbers(3));
        assert_eq!((tokens(&plain), plain.leading), (vec![0], vec![numbers(0), numbers(1)]));
    }

    #[test]
    fn a_device_gets_its_row_back_from_the_last_clone() {
        let (returned, free) = std::sync::mpsc::channel();
        let row = Logprobs::on_device(7, returned);
        let clone = row.clone();
        assert_eq!((row.device(), row.host()), (Some(7), None));
        drop(row);
        assert!(free.try_recv().is_err());
        drop(clone);
        assert_eq!(free.try_recv(), Ok(7));
    }
}
