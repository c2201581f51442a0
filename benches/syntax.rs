//! The syntax oracle: `cargo bench --bench syntax`, or `cargo bench --bench syntax -- line_class`.
//!
//! `line_class` asks for the class of line 201 of a program whose first 200 lines the oracle knows, as in a
//! session; `from_nothing` is the same question to an oracle that has seen nothing. `complete` does so for
//! completions. `review` is what CPython, in the sandbox, says of 16 continuations of a program of so many lines, of which the
//! last was committed after the review before, as in a session: half of the continuations can run, a quarter cannot yet, a
//! quarter is wrong. `classify` is the same question about the whole programs. With no line, and `pass` for all, it is what
//! the round trip itself takes. Medians and 99th percentiles are printed. `VIGOR_TEST_PYTHON` chooses another interpreter than
//! `python3`.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Bencher, BenchmarkId, Criterion, criterion_group};
use vigor::sandbox::{Pool, PoolConfig};
use vigor::session::reviewer::{CPython, Reviewed, Reviewer};
use vigor::syntax::SyntaxOracle;

/// Lines of the prefix.
const LINES: usize = 200;

/// What line 201 may be: one of each kind.
const NEXT: [(&str, &str); 7] = [
    ("statement", "                total += weights.get(key, 0.0) * scale[index]\n"),
    ("header", "                for name, (low, high) in sorted(self.ranges.items()):\n"),
    ("dedent", "        return {key: value for key, value in result.items() if value is not None}\n"),
    ("clause", "            else:\n"),
    ("open bracket", "                result[key] = self.combine(\n"),
    ("comment", "                # The rest is empty.\n"),
    ("invalid", "                total += weights.get(key, 0.0)) * scale[index\n"),
];

/// A program of `lines` lines: constants, then classes with functions, strings and comments. Its last lines stand
/// in an `if` in a loop of a method.
fn program(lines: usize) -> String {
    const CLASS: &str = r#"class Reader(Base):
    """Reads what `source` holds.

    Each entry is a name and a list of numbers.
    """

    limit = 100

    @property
    def size(self) -> int:
        return len(self.entries) + self.limit  # both

    def read(self, source, *, strict=False, weights=None):
        """Returns the weighted sums, or raises `ValueError`."""
        result = defaultdict(float)
        try:
            entries = self.parse(source, strict=strict)
        except (OSError, ValueError) as error:
            raise ValueError(f"cannot read {source!r}: {error}") from error
        for index, (key, values) in enumerate(entries):
            if key in self.ignored or not values:
                continue
            result[key] += sum(
                value * (weights or {}).get(key, 1.0)
                for value in values
                if not math.isnan(value)
            )
            if len(result) > self.limit:
                total = max(result.values()) - min(result.values())
                self.log("too many at %d", index)
"#;
    let each = CLASS.lines().count();
    let constants = (0..lines % each).map(|n| format!("LIMIT_{n} = {n}\n"));
    constants.chain((0..lines / each).map(|_| CLASS.to_owned())).collect()
}

/// The first lines of a function, and 16 lines that may follow.
fn continuations(lines: usize) -> (Vec<&'static str>, Vec<String>) {
    if lines == 0 {
        return (Vec::new(), vec!["pass\n".to_owned(); 16]);
    }
    let head = ["def combine(values, weights, scale, limit=0):\n", "    total = 0\n"];
    let body = [
        "    for index, value in enumerate(values):\n",
        "        total += weights.get(value, 0.0) * scale[index]\n",
        "        values[index] = [f\"{value} of {limit}\", total]  # both\n",
        "        print('at', index, sorted(values[index]), sep=', ')\n",
    ];
    let program = head.into_iter().chain(body.into_iter().cycle()).take(lines).collect();
    let next =
        ["        total += index\n", "        if index:\n", "    return total\n", "        total += = 1\n"];
    (program, next.iter().cycle().take(16).map(|line| (*line).to_owned()).collect())
}

/// Times what is asked about `next` of an oracle that has just been asked about `prefix`.
fn one_more_line<T>(b: &mut Bencher, prefix: &str, next: &str, ask: impl Fn(&mut SyntaxOracle, &str) -> T) {
    let mut oracle = SyntaxOracle::new();
    b.iter_custom(|rounds| {
        let mut spent = Duration::ZERO;
        for _ in 0..rounds {
            ask(&mut oracle, prefix);
            let begun = Instant::now();
            black_box(ask(&mut oracle, next));
            spent += begun.elapsed();
        }
        spent
    })
}

fn line_class(c: &mut Criterion) {
    let prefix = program(LINES);
    let mut group = c.benchmark_group("line_class");
    for (name, line) in NEXT {
        let next = format!("{prefix}{line}");
        group.bench_function(BenchmarkId::from_parameter(name), |b| {
            one_more_line(b, &prefix, &next, SyntaxOracle::line_class)
        });
    }
    let next = format!("{prefix}{}", NEXT[0].1);
    group.bench_function("from_nothing", |b| b.iter(|| SyntaxOracle::new().line_class(black_box(&next))));
    group.finish();
}

fn completion(c: &mut Criterion) {
    let prefix = program(LINES);
    let mut group = c.benchmark_group("complete");
    for (name, line) in NEXT.iter().filter(|(name, _)| *name != "invalid") {
        let next = format!("{prefix}{line}");
        group.bench_function(BenchmarkId::from_parameter(name), |b| {
            one_more_line(b, &prefix, &next, SyntaxOracle::complete)
        });
    }
    let next = format!("{prefix}{}", NEXT[0].1);
    group.bench_function("from_nothing", |b| b.iter(|| SyntaxOracle::new().complete(black_box(&next))));
    group.finish();
}

fn gate(c: &mut Criterion) {
    let launcher = env!("CARGO_BIN_EXE_vigor").into();
    let python = std::env::var_os("VIGOR_TEST_PYTHON").unwrap_or("python3".into()).into();
    let pool = Pool::new(PoolConfig { python, launcher, workers: 1, ..PoolConfig::default() });
    let pool = Arc::new(pool.expect("python3 and the vigor binary"));
    let reviewer = CPython::new(pool.clone());
    for lines in [0, 9, 37, LINES - 1] {
        let (program, continuations) = continuations(lines);
        let earlier = program[..lines.saturating_sub(1)].concat();
        let program = program.concat();
        let mut reviewed = Reviewed::default();
        reviewer.review(&mut reviewed, &earlier, &continuations).expect("verdicts");
        let review = || {
            let gates = reviewer.review(&mut reviewed.clone(), black_box(&program), &continuations);
            gates.expect("verdicts")
        };
        let whole: Vec<String> = continuations.iter().map(|line| format!("{program}{line}")).collect();
        let classify = || pool.classify(black_box(&whole)).expect("verdicts");
        assert_eq!(review(), classify());
        time(c, "review_16", lines, review);
        time(c, "classify_16", lines, classify);
    }
}

/// Times `ask`, about a program of `lines` lines and one more, for criterion and by its quantiles.
fn time<T>(c: &mut Criterion, name: &str, lines: usize, ask: impl Fn() -> T) {
    let mut group = c.benchmark_group(name);
    group.bench_function(BenchmarkId::from_parameter(lines + 1), |b| b.iter(&ask));
    group.finish();
    let mut times: Vec<Duration> = Vec::new();
    for _ in 0..500 {
        let begun = Instant::now();
        black_box(ask());
        times.push(begun.elapsed());
    }
    times.sort();
    println!("{name}/{}: median {:?}, 99th percentile {:?} of 500", lines + 1, times[250], times[495]);
}

/// Short: what is not timed, getting the oracle to line 200 again, can take longer than what is.
fn settings() -> Criterion {
    Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(50))
        .measurement_time(Duration::from_millis(200))
}

criterion_group! { name = syntax; config = settings(); targets = line_class, completion, gate }

fn main() {
    syntax();
    Criterion::default().configure_from_args().final_summary();
}
