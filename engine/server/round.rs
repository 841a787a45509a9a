//! One round as a pure state machine: inputs in, effects out, no clock, no actor, no randomness.
//!
//! The candidates are the cohort, then stand-ins. A candidate is *asked* (or its stored answer *replayed*), it
//! *answers* or is *lost*, its answer is *accepted* or *refused* by the aggregator in candidate order. Each dropped
//! candidate makes room for a stand-in, while there are any. At most `window` candidates are between asked and
//! accepted, which bounds the memory of a round whatever the size of its cohort.

use std::collections::VecDeque;

/// An event of the round; a candidate is named by its position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// The round may begin.
    Begin,
    /// A candidate's answer is here and was offered to the aggregator.
    Answered(u32),
    /// A candidate's actor crashed.
    Crashed(u32),
    /// A candidate failed, or was too late.
    Lost(u32),
    /// The aggregator has taken a candidate's update.
    Accepted(u32),
    /// The aggregator has refused a candidate's update.
    Refused(u32),
}

/// An action for the shell; a candidate is named by its position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Send the candidate its assignment.
    Ask(u32),
    /// Offer the candidate's stored answer.
    Replay(u32),
    /// Tell the aggregator that no update comes from this candidate.
    Skip(u32),
    /// Every candidate is through and the quorum is reached: finish the aggregate.
    Finish,
    /// Every candidate is through and the quorum is missed.
    MissQuorum,
}

/// Times that a candidate is asked whose actor crashes.
const ATTEMPTS: u32 = 2;

/// The state of one candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CandidateState {
    /// In the queue, or a stand-in that is not needed yet.
    Waiting {
        /// True where its answer lies in the journal.
        stored: bool,
    },
    Asked {
        attempts: u32,
    },
    Answered,
    Accepted,
    Dropped,
}

/// The state of one round.
#[derive(Debug, Clone)]
pub struct Round {
    candidates: Vec<CandidateState>,
    /// Candidates that take part: the cohort, and a stand-in for each one dropped.
    active: usize,
    /// Active candidates that wait to be asked, in order.
    queue: VecDeque<u32>,
    in_flight: usize,
    window: usize,
    quorum: usize,
    over: bool,
}

impl Round {
    /// A round over `candidates` clients of which the first `cohort` are asked and the rest are stand-ins.
    ///
    /// `quorum` is the number of accepted updates that make the round count, `stored` the candidates whose answer
    /// lies in the journal.
    pub fn new(candidates: usize, cohort: usize, quorum: usize, window: usize, stored: &[u32]) -> Self {
        assert!(cohort <= candidates && window > 0, "a cohort of candidates and room for one");
        let mut candidates = vec![CandidateState::Waiting { stored: false }; candidates];
        for position in stored {
            if let Some(state) = candidates.get_mut(*position as usize) {
                *state = CandidateState::Waiting { stored: true };
            }
        }
        let queue = (0..cohort as u32).collect();
        Self { candidates, active: cohort, queue, in_flight: 0, window, quorum: quorum.max(1), over: false }
    }

    /// Takes one input. Inputs that do not fit the candidate's state (late, repeated) do nothing.
    pub fn handle(&mut self, input: Input) -> Vec<Effect> {
        let mut effects = Vec::new();
        match (input, self.state_of(input)) {
            (Input::Begin, _) => {}
            (Input::Answered(position), Some(CandidateState::Asked { .. })) => {
                self.set(position, CandidateState::Answered)
            }
            (Input::Crashed(position), Some(CandidateState::Asked { attempts })) if attempts < ATTEMPTS => {
                self.set(position, CandidateState::Asked { attempts: attempts + 1 });
                effects.push(Effect::Ask(position));
            }
            (Input::Crashed(position) | Input::Lost(position), Some(CandidateState::Asked { .. })) => {
                effects.push(Effect::Skip(position));
                self.resolve(position, CandidateState::Dropped);
            }
            (Input::Refused(position), Some(CandidateState::Answered)) => {
                self.resolve(position, CandidateState::Dropped)
            }
            (Input::Accepted(position), Some(CandidateState::Answered)) => {
                self.resolve(position, CandidateState::Accepted)
            }
            _ => return effects,
        }
        self.fill_window(&mut effects);
        self.end(&mut effects);
        effects
    }

    /// Candidates asked so far, or whose stored answer was replayed.
    pub fn asked(&self) -> u32 {
        self.active as u32
    }

    /// Updates in the aggregate so far.
    pub fn accepted(&self) -> u32 {
        self.count(CandidateState::Accepted)
    }

    /// Candidates dropped so far.
    pub fn dropped(&self) -> u32 {
        self.count(CandidateState::Dropped)
    }

    /// Accepted updates that the round needs to count.
    pub fn quorum(&self) -> usize {
        self.quorum
    }

    fn count(&self, wanted: CandidateState) -> u32 {
        self.candidates.iter().filter(|state| **state == wanted).count() as u32
    }

    fn state_of(&self, input: Input) -> Option<CandidateState> {
        match input {
            Input::Begin => None,
            Input::Answered(position)
            | Input::Crashed(position)
            | Input::Lost(position)
            | Input::Accepted(position)
            | Input::Refused(position) => self.candidates.get(position as usize).copied(),
        }
    }

    fn set(&mut self, position: u32, state: CandidateState) {
        self.candidates[position as usize] = state;
    }

    /// Ends a candidate's part in the round; a stand-in takes the place of a dropped one.
    fn resolve(&mut self, position: u32, state: CandidateState) {
        self.set(position, state);
        self.in_flight -= 1;
        if state == CandidateState::Dropped && self.active < self.candidates.len() {
            self.queue.push_back(self.active as u32);
            self.active += 1;
        }
    }

    /// Asks waiting candidates while the window has room.
    fn fill_window(&mut self, effects: &mut Vec<Effect>) {
        while self.in_flight < self.window {
            let Some(position) = self.queue.pop_front() else { return };
            let stored = self.candidates[position as usize] == CandidateState::Waiting { stored: true };
            self.set(position, CandidateState::Asked { attempts: 1 });
            self.in_flight += 1;
            effects.push(if stored { Effect::Replay(position) } else { Effect::Ask(position) });
        }
    }

    /// Ends the round once every active candidate has been accepted or dropped.
    fn end(&mut self, effects: &mut Vec<Effect>) {
        if self.over || self.in_flight > 0 || !self.queue.is_empty() {
            return;
        }
        self.over = true;
        effects.push(if self.accepted() as usize >= self.quorum { Effect::Finish } else { Effect::MissQuorum });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_round_ends_when_the_whole_cohort_is_accepted() {
        let mut round = Round::new(2, 2, 1, 8, &[]);
        assert_eq!(round.handle(Input::Begin), [Effect::Ask(0), Effect::Ask(1)]);
        assert_eq!(round.handle(Input::Answered(1)), []);
        assert_eq!(round.handle(Input::Answered(0)), []);
        assert_eq!(round.handle(Input::Accepted(0)), []);
        assert_eq!(round.handle(Input::Accepted(1)), [Effect::Finish]);
        assert_eq!(round.handle(Input::Accepted(1)), []);
    }

    #[test]
    fn the_window_bounds_what_is_in_flight() {
        let mut round = Round::new(3, 3, 1, 1, &[]);
        assert_eq!(round.handle(Input::Begin), [Effect::Ask(0)]);
        assert_eq!(round.handle(Input::Answered(0)), []);
        assert_eq!(round.handle(Input::Accepted(0)), [Effect::Ask(1)]);
    }

    #[test]
    fn a_crashed_client_is_asked_once_more_then_dropped() {
        let mut round = Round::new(2, 2, 1, 8, &[]);
        round.handle(Input::Begin);
        assert_eq!(round.handle(Input::Crashed(0)), [Effect::Ask(0)]);
        assert_eq!(round.handle(Input::Crashed(0)), [Effect::Skip(0)]);
        round.handle(Input::Answered(1));
        assert_eq!(round.handle(Input::Accepted(1)), [Effect::Finish]);
        assert_eq!((round.asked(), round.accepted(), round.dropped()), (2, 1, 1));
    }

    #[test]
    fn a_stand_in_takes_the_place_of_a_lost_client() {
        let mut round = Round::new(3, 2, 2, 8, &[]);
        round.handle(Input::Begin);
        assert_eq!(round.handle(Input::Lost(0)), [Effect::Skip(0), Effect::Ask(2)]);
        for position in [1, 2] {
            round.handle(Input::Answered(position));
        }
        round.handle(Input::Accepted(1));
        assert_eq!(round.handle(Input::Accepted(2)), [Effect::Finish]);
    }

    #[test]
    fn a_missed_quorum_is_told() {
        let mut round = Round::new(2, 2, 2, 8, &[]);
        round.handle(Input::Begin);
        round.handle(Input::Lost(0));
        round.handle(Input::Answered(1));
        assert_eq!(round.handle(Input::Accepted(1)), [Effect::MissQuorum]);
    }

    #[test]
    fn a_stored_answer_is_replayed_not_asked_for() {
        let mut round = Round::new(2, 2, 1, 8, &[1]);
        assert_eq!(round.handle(Input::Begin), [Effect::Ask(0), Effect::Replay(1)]);
    }

    proptest! {
        /// Whatever happens in whatever order, a round ends exactly once, with every active candidate resolved,
        /// and never has more than the window in flight.
        #[test]
        fn every_round_ends_exactly_once(
            cohort in 1_usize..12, extra in 0_usize..4, window in 1_usize..6,
            fates in prop::collection::vec(0_u8..4, 16), picks in prop::collection::vec(0_usize..64, 200),
        ) {
            let mut round = Round::new(cohort + extra, cohort, cohort, window, &[]);
            let mut asked: Vec<u32> = Vec::new();
            let mut answered: Vec<u32> = Vec::new();
            let mut ends = 0;
            let mut apply = |effects: Vec<Effect>, asked: &mut Vec<u32>| {
                for effect in effects {
                    match effect {
                        Effect::Ask(position) | Effect::Replay(position) => asked.push(position),
                        Effect::Finish | Effect::MissQuorum => ends += 1,
                        Effect::Skip(_) => {}
                    }
                }
            };
            apply(round.handle(Input::Begin), &mut asked);
            for pick in picks {
                prop_assert!(asked.len() + answered.len() <= window);
                if pick % 2 == 0 && !asked.is_empty() {
                    let position = asked.swap_remove(pick % asked.len());
                    let input = match fates[position as usize] {
                        0 => Input::Lost(position),
                        1 => Input::Crashed(position),
                        _ => { answered.push(position); Input::Answered(position) }
                    };
                    apply(round.handle(input), &mut asked);
                } else if !answered.is_empty() {
                    let position = answered.swap_remove(pick % answered.len());
                    let refused = fates[position as usize] == 2 && pick % 3 == 0;
                    let input = if refused { Input::Refused(position) } else { Input::Accepted(position) };
                    apply(round.handle(input), &mut asked);
                }
            }
            if asked.is_empty() && answered.is_empty() {
                prop_assert_eq!(ends, 1);
                prop_assert_eq!(round.accepted() + round.dropped(), round.asked());
            } else {
                prop_assert_eq!(ends, 0);
            }
        }
    }
}
