//! Between rounds: clients hear how their uploads ended, what goes down next is encoded and evaluated, and the next round
//! begins.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::actor::{Internal, Looked, ServerRef, send};
use super::round::{Input, Round};
use super::state::{Ending, Open, Phase, ServerState};
use super::view::{self, Outlook};
use super::{ServerError, acknowledging, closing, sampler};
use crate::aggregator::{AggregatorMsg, Opening};

impl ServerState {
    /// Encodes and evaluates the present weights, or those of a round that is ending.
    pub(super) fn look(&mut self, myself: &ServerRef, ending: Option<Box<Ending>>) {
        let (round, model, trackers, memories) = match &ending {
            Some(ending) => (ending.row.round, &ending.model, ending.trackers.clone(), ending.memories.clone()),
            None => (self.closed, &self.model, self.trackers.clone(), self.memories.clone()),
        };
        // Of a resumed run the last round is in the stored mean already, and was evaluated.
        let share = ending.as_ref().map(|_| closing::share_of_mean(self.args.config.ema_decay, round));
        let mean = model.mean.clone().map(|mean| (mean, share));
        let evaluate = self.evaluates(round) && ending.is_some();
        let (weights, tiers) = (model.weights.clone(), self.tiers_in_use.clone());
        let outlook = Outlook { weights, round, evaluate, tiers, trackers, memories, mean };
        let (participants, journal) = (self.args.participants.clone(), self.args.journal.clone());
        let (myself, stop, window) = (myself.clone(), self.stop.clone(), self.args.window);
        self.phase = Phase::Looking;
        tokio::spawn(async move {
            let heard = match &ending {
                Some(ending) => acknowledging::hear(ending, window, &participants, &journal).await,
                None => Ok(Some(Vec::new())),
            };
            let looked = match heard {
                Ok(None) => return,
                Ok(Some(warnings)) => view::look(outlook, &participants, &stop).await.map(|view| (warnings, view)),
                Err(error) => Err(error),
            };
            send(&myself, Internal::Looked(looked.map(|(warnings, view)| Looked { ending, warnings, view })));
        });
    }

    pub(super) fn looked(&mut self, myself: &ServerRef, looked: Result<Looked, ServerError>) {
        let Looked { ending, warnings, view } = match looked {
            Ok(looked) => looked,
            // A stopped server cancels the evaluation; what is closed stays.
            Err(_) if self.stop.load(Ordering::Relaxed) => return self.finish(myself, true),
            Err(error) => return self.fail(myself, error),
        };
        warnings.into_iter().for_each(|warning| self.tell(super::ServerEvent::Warning(warning)));
        let Some(mut ending) = ending else {
            self.view = Some(view);
            return self.next(myself);
        };
        ending.row.eval_loss = view.result_worth.map(|worth| worth.loss());
        ending.row.eval_metric = view.result_worth.map(|worth| worth.accuracy());
        ending.row.eval_loss_dense_copy = view.dense_worth.map(|worth| worth.loss());
        ending.model.mean = ending.model.mean.map(|_| view.result.clone());
        ending.view = Some(view);
        self.store_end(myself, ending);
    }

    /// Begins the next round, or ends the run.
    pub(super) fn next(&mut self, myself: &ServerRef) {
        if self.closed >= self.args.rounds {
            return self.finish(myself, false);
        }
        if self.stop.load(Ordering::Relaxed) {
            return self.finish(myself, true);
        }
        let Some(view) = &self.view else { return };
        let number = self.closed + 1;
        let config = &self.args.config;
        let stand_ins = (config.cohort as f64 * f64::from(config.over_selection)).ceil() as usize;
        let clients = self.args.participants.shards.clients() as u32;
        let candidates = sampler::sample(self.args.seed, number, clients, config.cohort + stand_ins);
        let cohort = config.cohort.min(candidates.len());
        let quorum = (cohort as f64 * f64::from(config.quorum)).ceil() as usize;
        let stored = std::mem::take(&mut self.args.resume.stored);
        let cancels = candidates.iter().map(|_| Arc::new(AtomicBool::new(false))).collect();
        let opening =
            Opening { round: number, cohort: cohort as u32, base: view.shown.clone(), memories: view.memories.clone() };
        let mut open = Open {
            number,
            machine: Round::new(candidates.len(), cohort, quorum, self.args.window, &stored),
            turns: vec![None; candidates.len()],
            candidates,
            started: Instant::now(),
            losses: Vec::new(),
            client_rows: Vec::new(),
            last_drop: None,
            cancels,
        };
        if self.args.aggregator.cast(AggregatorMsg::Begin { opening }).is_err() {
            // The supervisor sees the aggregator's end too, and starts this server again with a new one.
            return;
        }
        let effects = open.machine.handle(Input::Begin);
        self.phase = Phase::Round(Box::new(open));
        self.apply(myself, effects);
    }
}
