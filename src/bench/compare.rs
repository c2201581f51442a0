//! Two runs of the benchmark, row by row.

use super::document::Document;

/// How the rows of one run stand to those of an earlier one.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// Rows that both have: name, tokens/s then and now (medians), now over then.
    pub rows: Vec<(String, f64, f64, f64)>,
    /// What makes the comparison less than one of like with like.
    pub notes: Vec<String>,
}

impl Comparison {
    /// Compares medians of tokens/s; a ratio above 1 means that `now` is faster.
    pub fn new(then: &Document, now: &Document) -> Self {
        let rows = now
            .rows
            .iter()
            .filter_map(|row| {
                let other = then.rows.iter().find(|other| other.name == row.name)?;
                let (then, now) = (other.tokens_per_second.median, row.tokens_per_second.median);
                Some((row.name.clone(), then, now, now / then))
            })
            .collect();
        let mut notes = Vec::new();
        let mut differ = |what: &str, then: &str, now: &str| {
            if then != now {
                notes.push(format!("{what}: {then} then, {now} now"));
            }
        };
        differ("processor", &then.machine.cpu, &now.machine.cpu);
        differ("threads", &then.machine.threads.to_string(), &now.machine.threads.to_string());
        differ("vector instructions", &then.machine.isa, &now.machine.isa);
        let gpu =
            |document: &Document| document.machine.gpu.as_ref().map_or("none", |gpu| &gpu.name).to_owned();
        differ("GPU", &gpu(then), &gpu(now));
        differ("model", &then.model.file, &now.model.file);
        let names = |of: &Document, other: &Document| {
            let missing = |name: &&str| !other.rows.iter().any(|row| row.name == **name);
            let names: Vec<&str> = of.rows.iter().map(|row| row.name.as_str()).filter(missing).collect();
            names.join(", ")
        };
        for (which, missing) in [("then", names(then, now)), ("now", names(now, then))] {
            if !missing.is_empty() {
                notes.push(format!("measured only {which}: {missing}"));
            }
        }
        Self { rows, notes }
    }
}
