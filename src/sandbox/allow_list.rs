//! Compiles a list of allowed system calls into a program that is quick to install.
//!
//! The kernel tries a new filter on every system call's number when it is installed, and a child pays for that at
//! every execution. Comparing with one number after another, as filters usually do, that is most of what the whole
//! sandbox costs; searching a tree of ranges is a fraction of it.

use std::collections::BTreeMap;

use seccompiler::sock_filter;

/// `argument & mask == value`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Condition {
    /// Position of the argument, from 0.
    pub argument: u32,
    pub mask: u64,
    pub value: u64,
}

/// What is allowed, by number: always where the list is empty, else where all conditions of one of its entries hold.
pub(super) type Allowed = BTreeMap<i64, Vec<Vec<Condition>>>;

// Codes of instructions (`linux/bpf_common.h`), and offsets in `struct seccomp_data`.
const LOAD: u16 = 0x20;
const AND: u16 = 0x54;
const JUMP: u16 = 0x05;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_NOT_BELOW: u16 = 0x35;
const RETURN: u16 = 0x06;
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENTS: u32 = 16;

const ALLOW: sock_filter = step(RETURN, 0, 0, 0x7fff_0000);
const DENY: sock_filter = step(RETURN, 0, 0, 0x0005_0000 | libc::EPERM as u32);
const KILL: sock_filter = step(RETURN, 0, 0, 0x8000_0000);

const fn step(code: u16, jt: u8, jf: u8, k: u32) -> sock_filter {
    sock_filter { code, jt, jf, k }
}

/// The program; everything else is refused with `EPERM`. `None` where this processor's number is not known.
pub(super) fn compile(allowed: &Allowed) -> Option<Vec<sock_filter>> {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => 0xc000_003e,
        "aarch64" => 0xc000_00b7,
        _ => return None,
    };
    let mut program = vec![
        step(LOAD, 0, 0, ARCHITECTURE),
        step(JUMP_EQUAL, 1, 0, architecture),
        KILL,
        step(LOAD, 0, 0, NUMBER),
    ];
    program.extend(search(&ranges(allowed)));
    Some(program)
}

/// What is done from a number on, up to that of the next entry.
fn ranges(allowed: &Allowed) -> Vec<(u32, Vec<sock_filter>)> {
    let mut ranges = vec![(0, vec![DENY])];
    for (number, conditions) in allowed {
        let number = *number as u32;
        for (from, action) in [(number, check(conditions)), (number + 1, vec![DENY])] {
            ranges.retain(|(start, _)| *start != from);
            ranges.push((from, action));
        }
    }
    ranges.dedup_by(|next, previous| next.1 == previous.1);
    ranges
}

/// A program that goes to the range in which the loaded number is.
fn search(ranges: &[(u32, Vec<sock_filter>)]) -> Vec<sock_filter> {
    if let [(_, action)] = ranges {
        return action.clone();
    }
    let (below, above) = ranges.split_at(ranges.len() / 2);
    let bound = above[0].0;
    let (below, above) = (search(below), search(above));
    let mut program = match u8::try_from(below.len()) {
        Ok(distance) => vec![step(JUMP_NOT_BELOW, distance, 0, bound)],
        Err(_) => vec![step(JUMP_NOT_BELOW, 0, 1, bound), step(JUMP, 0, 0, below.len() as u32)],
    };
    program.extend(below);
    program.extend(above);
    program
}

/// A program that decides by the arguments.
fn check(alternatives: &[Vec<Condition>]) -> Vec<sock_filter> {
    if alternatives.is_empty() {
        return vec![ALLOW];
    }
    let mut program: Vec<sock_filter> =
        alternatives.iter().flat_map(|conditions| check_all(conditions)).collect();
    program.push(DENY);
    program
}

/// Allows where all conditions hold, else goes on behind.
fn check_all(conditions: &[Condition]) -> Vec<sock_filter> {
    let mut steps = Vec::new();
    for condition in conditions {
        let offset = ARGUMENTS + 8 * condition.argument;
        for (half, shift) in [(offset, 0), (offset + 4, 32)] {
            let (mask, value) = ((condition.mask >> shift) as u32, (condition.value >> shift) as u32);
            if mask != 0 {
                steps.extend([step(LOAD, 0, 0, half), step(AND, 0, 0, mask), step(JUMP_EQUAL, 0, 0, value)]);
            }
        }
    }
    steps.push(ALLOW);
    let end = steps.len();
    for (at, step) in steps.iter_mut().enumerate().filter(|(_, step)| step.code == JUMP_EQUAL) {
        step.jf = (end - at - 1) as u8;
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel does with a program.
    fn run(program: &[sock_filter], data: &[u32; 16]) -> u32 {
        let (mut at, mut loaded) = (0, 0);
        loop {
            let step = &program[at];
            at += 1;
            let jump = |holds: bool| usize::from(if holds { step.jt } else { step.jf });
            match step.code {
                LOAD => loaded = data[step.k as usize / 4],
                AND => loaded &= step.k,
                JUMP => at += step.k as usize,
                JUMP_EQUAL => at += jump(loaded == step.k),
                JUMP_NOT_BELOW => at += jump(loaded >= step.k),
                RETURN => return step.k,
                code => panic!("{code}"),
            }
        }
    }

    fn allows(program: &[sock_filter], number: u32, arguments: [u64; 6]) -> bool {
        let mut data = [0; 16];
        data[0] = number;
        data[1] = if cfg!(target_arch = "x86_64") { 0xc000_003e } else { 0xc000_00b7 };
        for (at, argument) in arguments.into_iter().enumerate() {
            data[4 + 2 * at] = argument as u32;
            data[5 + 2 * at] = (argument >> 32) as u32;
        }
        run(program, &data) == ALLOW.k
    }

    #[test]
    fn what_is_listed_is_allowed_and_nothing_else() {
        let mut allowed: Allowed =
            [0, 1, 2, 7, 8, 100, 101, 300, 451].map(|number| (number, Vec::new())).into();
        allowed.insert(3, vec![vec![Condition { argument: 2, mask: 0b11, value: 0b01 }]]);
        let both = |argument, value| Condition { argument, mask: u64::MAX, value };
        allowed.insert(200, vec![vec![both(0, 5), both(3, 1 << 40)], vec![both(1, 9)]]);
        // Long enough for a jump that a byte cannot hold.
        for number in 500..600 {
            allowed.insert(2 * number, vec![vec![both(5, number as u64)]]);
        }
        let program = compile(&allowed).unwrap();
        assert!(program.len() > 600);
        for number in (0..1300).chain([0x4000_0000, 0x4000_0001, u32::MAX]) {
            for arguments in
                [[0; 6], [5, 0, 0, 1 << 40, 0, 0], [5, 0, 1, 0, 0, 0], [0, 9, 0xfd, 0, 0, 550], [5; 6]]
            {
                let expected = match allowed.get(&i64::from(number)) {
                    None => false,
                    Some(alternatives) if alternatives.is_empty() => true,
                    Some(alternatives) => alternatives.iter().any(|conditions| {
                        conditions.iter().all(|c| arguments[c.argument as usize] & c.mask == c.value)
                    }),
                };
                assert_eq!(allows(&program, number, arguments), expected, "{number} {arguments:?}");
            }
        }
    }

    #[test]
    fn calls_of_another_architecture_end_the_process() {
        let program = compile(&[(0, Vec::new())].into()).unwrap();
        assert_eq!(run(&program, &[0; 16]), KILL.k);
    }
}
