//! Execution traces as a child sends them, up to the text that a model reads; and events of a run's `trace.jsonl`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vigor::feedback::{SignalCaps, SignalEntry, SignalMode, signal_text};
use vigor::session::replay::replay;
use vigor::session::trace::{Event, TraceLine};

const PROGRAM: &str = "def f(x):\n    y = x\n    return y\n\nf(1)\n";

fn rendered(json: &[u8]) {
    let lines = PROGRAM.lines().count();
    let Some(trace) = vigor::sandbox::fuzzing::trace(json, lines) else { return };
    assert!(trace.events.iter().all(|event| (1..=lines).contains(&(event.line as usize))));
    for mode in [SignalMode::Full, SignalMode::Minimal] {
        let caps = SignalCaps { max_entry_chars: 300, max_total_chars: 3000, mode };
        let entry = SignalEntry { program: PROGRAM, invocation: "f(1)", printed: None, trace: &trace };
        let signal = signal_text(&[entry, entry], &caps);
        assert!(signal.text.chars().count() <= caps.max_total_chars);
    }
}

fn replayed(lines: &[u8]) {
    let events: Vec<Event> = lines
        .split(|byte| *byte == b'\n')
        .filter_map(|line| serde_json::from_slice::<TraceLine>(line).ok())
        .map(|line| line.event)
        .collect();
    let _ = replay(&events);
}

fuzz_target!(|data: &[u8]| {
    match data.split_first() {
        Some((b'r', rest)) => replayed(rest),
        Some((_, rest)) => rendered(rest),
        None => {}
    }
});
