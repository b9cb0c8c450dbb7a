//! The automaton that looks for texts in a text: `bpf/hook/search.h`.

use std::collections::{BTreeMap, VecDeque};

use trigon_probes::hooks::{Entries, STATE_FOUND, plan::Mask};

use super::CompileError;

/// States that an automaton can have: as many as all of its texts have bytes.
const STATES: usize = 16_384;

/// Whoever looks for texts: its bit, and the texts.
pub(super) type Wanted = (usize, Vec<Vec<u8>>);

/// A beginning of some texts.
#[derive(Clone, Debug, Default)]
struct State {
    next: BTreeMap<u8, u32>,
    /// The longest other beginning with which this one ends.
    falls_to: u32,
    found: Mask,
}

/// The automaton, and who is content where nothing is found.
///
/// # Errors
/// The texts are too many.
pub(super) fn automaton(wanted: &[Wanted], count: usize) -> Result<(Mask, Entries), CompileError> {
    let miss = Mask::of((0..count).filter(|bit| wanted.iter().all(|(asking, _)| asking != bit)));
    let mut states = vec![State::default()];
    for (bit, texts) in wanted {
        for text in texts {
            let mut at = 0;
            for byte in text {
                at = match states[at].next.get(byte) {
                    Some(next) => *next as usize,
                    None if states.len() >= STATES => {
                        return Err(CompileError::Full { what: "bytes of SubString", limit: STATES });
                    }
                    None => {
                        states.push(State::default());
                        let new = states.len() - 1;
                        states[at].next.insert(*byte, new as u32);
                        new
                    }
                };
            }
            states[at].found.set(*bit);
        }
    }
    let order = fall(&mut states);
    let found: Vec<(u32, Mask)> = (1..states.len())
        .filter(|state| states[*state].found != Mask::default())
        .map(|state| (state as u32, states[state].found))
        .collect();
    Ok((miss, Entries::Search { steps: steps(&states, &order), found }))
}

/// Works out where each state falls to, the shorter ones first, and what ends there too. Gives the order.
fn fall(states: &mut [State]) -> Vec<u32> {
    let mut order = Vec::with_capacity(states.len());
    let mut queue: VecDeque<u32> = states[0].next.values().copied().collect();
    while let Some(state) = queue.pop_front() {
        order.push(state);
        let next: Vec<(u8, u32)> =
            states[state as usize].next.iter().map(|(byte, next)| (*byte, *next)).collect();
        for (byte, longer) in next {
            let mut fallback = states[state as usize].falls_to;
            let target = loop {
                match states[fallback as usize].next.get(&byte) {
                    Some(target) => break *target,
                    None if fallback == 0 => break 0,
                    None => fallback = states[fallback as usize].falls_to,
                }
            };
            states[longer as usize].falls_to = target;
            let ends = states[target as usize].found;
            states[longer as usize].found = states[longer as usize].found | ends;
            queue.push_back(longer);
        }
    }
    order
}

/// From each state, what leads on; but not what leads to the first byte of a text, which state 0 says for all.
fn steps(states: &[State], order: &[u32]) -> Vec<(u32, u8, u32)> {
    let marked = |state: u32| match states[state as usize].found == Mask::default() {
        true => state,
        false => state | STATE_FOUND,
    };
    let root = &states[0].next;
    let mut all: Vec<(u32, u8, u32)> = root.iter().map(|(byte, next)| (0, *byte, marked(*next))).collect();
    let mut known: BTreeMap<u32, BTreeMap<u8, u32>> = BTreeMap::new();
    for state in order {
        let mut own = known.get(&states[*state as usize].falls_to).cloned().unwrap_or_default();
        own.extend(&states[*state as usize].next);
        all.extend(own.iter().map(|(byte, next)| (*state, *byte, marked(*next))));
        known.insert(*state, own);
    }
    all
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What the programs do.
    fn found(entries: &Entries, text: &[u8]) -> Mask {
        let Entries::Search { steps, found } = entries else { panic!("no automaton") };
        let next = |state: u32, byte: u8| {
            steps.iter().find(|step| (step.0, step.1) == (state, byte)).map(|step| step.2)
        };
        let (mut state, mut all) = (0, Mask::default());
        for byte in text {
            let to = next(state, *byte).or_else(|| next(0, *byte)).unwrap_or(0);
            state = to & !STATE_FOUND;
            if to & STATE_FOUND != 0 {
                all = all | found.iter().find(|(at, _)| *at == state).unwrap().1;
            }
        }
        all
    }

    proptest! {
        #[test]
        fn finds_what_stands_in_the_text(
            wanted in prop::collection::vec(prop::collection::vec("[ab]{1,5}", 1..4), 1..5),
            text in "[abc]{0,24}",
        ) {
            let wanted: Vec<Wanted> = wanted
                .into_iter()
                .map(|texts| texts.into_iter().map(String::into_bytes).collect())
                .enumerate()
                .collect();
            let (miss, entries) = automaton(&wanted, wanted.len() + 1).unwrap();
            prop_assert_eq!(miss, Mask::of([wanted.len()]));
            let stands = |(_, texts): &&Wanted| {
                texts.iter().any(|wanted| text.as_bytes().windows(wanted.len()).any(|part| part == wanted))
            };
            let expected = Mask::of(wanted.iter().filter(stands).map(|(bit, _)| *bit));
            prop_assert_eq!(found(&entries, text.as_bytes()), expected);
        }
    }

    #[test]
    fn too_many_bytes_are_refused() {
        let long = |first: u8| vec![first; STATES / 2];
        let error = automaton(&[(0, vec![long(1), long(2)])], 1).unwrap_err();
        assert_eq!(error, CompileError::Full { what: "bytes of SubString", limit: STATES });
    }
}
