//! Every rule of the pair checks fires where it should and nowhere else.

use super::*;

fn side(name: &str) -> Side {
    Side { name: name.into(), capabilities: Capabilities::default(), steps: false }
}

/// Policies that ask for nothing, with a server that remembers nothing.
fn plain(config: &mut Config) -> Pairs<'_> {
    config.server.optimizer = OptimizerKind::FedAvg;
    Pairs {
        config,
        download: side("down"),
        upload: side("up"),
        aggregate: side("sum"),
        feedback: [false, false],
        density: 0.25,
        clients: 24,
        values: 1_000_000,
    }
}

/// The findings after a change of the plain pairs.
fn found(config: impl FnOnce(&mut Config), change: impl FnOnce(&mut Pairs)) -> Vec<Finding> {
    let mut changed = Config::default();
    let mut pairs = plain(&mut changed);
    change(&mut pairs);
    let Pairs { download, upload, aggregate, feedback, density, clients, values, .. } = pairs;
    config(&mut changed);
    Pairs { config: &changed, download, upload, aggregate, feedback, density, clients, values }.check()
}

fn text(finding: &Finding) -> &str {
    match finding {
        Finding::Refuse(text) | Finding::Warn(text) => text,
    }
}

#[test]
fn policies_that_ask_for_nothing_go_together() {
    assert_eq!(found(|_| {}, |_| {}), []);
}

#[test]
fn error_feedback_beside_a_server_that_remembers_is_warned_of() {
    let both = |pairs: &mut Pairs| (pairs.feedback, pairs.clients) = ([true, true], 8);
    assert_eq!(found(|_| {}, both), []);
    let momentum = |config: &mut Config| config.server.optimizer = OptimizerKind::FedAvgM;
    let expected = "download.error_feedback and upload.error_feedback and server.optimizer fedavgm with momentum 0.5 both \
                    repeat what was left out: fedavg suits error feedback";
    assert_eq!(found(momentum, both), [Finding::Warn(expected.into())]);
    let adam = |config: &mut Config| config.server.optimizer = OptimizerKind::FedAdam;
    let findings = found(adam, |pairs| pairs.feedback = [true, false]);
    assert!(
        text(&findings[0]).starts_with("download.error_feedback and server.optimizer fedadam both"),
        "{findings:?}"
    );
    let own_step = |pairs: &mut Pairs| (pairs.feedback, pairs.aggregate.steps) = ([true, false], true);
    assert_eq!(found(adam, own_step), []);
}

#[test]
fn what_clients_keep_is_stale_where_few_of_them_take_part() {
    let feedback = |pairs: &mut Pairs| pairs.feedback = [false, true];
    let expected = "upload.error_feedback keeps something at each client, but server.cohort asks 8 of 24 clients a round: with \
                    less than half of them what they keep grows stale";
    assert_eq!(found(|_| {}, feedback), [Finding::Warn(expected.into())]);
    assert_eq!(found(|config| config.server.cohort = 12, feedback), []);
    let stateful = found(|_| {}, |pairs| pairs.upload.capabilities.stateful_client = true);
    assert!(text(&stateful[0]).starts_with("upload policy up keeps something"), "{stateful:?}");
}

#[test]
fn a_sparse_upload_that_loses_values_wants_error_feedback() {
    let sparse = |pairs: &mut Pairs| {
        pairs.upload.capabilities.gains_from_error_feedback = true;
        pairs.density = 0.03125;
    };
    let expected = "upload policy up loses what it leaves out, and the density is 0.03125, below 0.0625: \
                    upload.error_feedback carries it over";
    assert_eq!(found(|_| {}, sparse), [Finding::Warn(expected.into())]);
    let with_feedback = |pairs: &mut Pairs| {
        sparse(pairs);
        (pairs.feedback, pairs.clients) = ([false, true], 8);
    };
    assert_eq!(found(|_| {}, with_feedback), []);
}

#[test]
fn a_download_that_changes_the_layout_wants_its_own_upload() {
    let changes = |pairs: &mut Pairs| pairs.download.capabilities.changes_layout = true;
    let findings = found(|_| {}, changes);
    assert!(text(&findings[0]).starts_with("download policy down trains or sends a part"), "{findings:?}");
    assert_eq!(
        found(
            |_| {},
            |pairs| {
                changes(pairs);
                pairs.upload.name = "down".into();
            }
        ),
        []
    );
}

#[test]
fn residuals_want_a_server_that_takes_the_mean_as_it_is() {
    assert_eq!(found(|config| config.lora.residual = true, |_| {}), []);
    let half = |config: &mut Config| (config.lora.residual, config.server.lr) = (true, 0.5);
    let expected =
        "lora.residual makes aggregation exact only with server.optimizer fedavg and lr 1, not with server.lr 0.5";
    assert_eq!(found(half, |_| {}), [Finding::Warn(expected.into())]);
    assert_eq!(found(half, |pairs| pairs.aggregate.steps = true), []);
}

#[test]
fn updates_that_are_held_must_fit_into_the_policys_memory() {
    let holds = |pairs: &mut Pairs| pairs.aggregate.capabilities.holds_updates = true;
    let limit = |memory_mb| move |config: &mut Config| config.limits.memory_mb = memory_mb;
    assert_eq!(found(limit(62), holds), []);
    let text = |limit| {
        format!(
            "aggregate policy sum holds the updates of a whole cohort: 8 of 1000000 values are 31 MiB, limits.memory_mb is \
             {limit}"
        )
    };
    assert_eq!(found(limit(60), holds), [Finding::Warn(text(60))]);
    assert_eq!(found(limit(30), holds), [Finding::Refuse(text(30))]);
}

#[test]
fn masked_sums_are_refused_with_policies_that_look_at_single_updates() {
    let secure = |config: &mut Config| config.aggregate.secure = true;
    let sound = |pairs: &mut Pairs| {
        pairs.aggregate.capabilities.secure_aggregation_ok = true;
        pairs.upload.capabilities.linear = true;
    };
    assert_eq!(found(secure, sound), []);
    let expected = [
        "aggregate.secure is true, but aggregate policy sum looks at single updates",
        "aggregate.secure is true, but upload policy up is not linear: aggregate policy sum would not be given the sum of what \
         it sent",
    ];
    assert_eq!(found(secure, |_| {}), expected.map(|text| Finding::Refuse(text.into())));
    let top_k = found(secure, |pairs| {
        sound(pairs);
        pairs.upload.capabilities.linear = false;
        pairs.upload.capabilities.gains_from_error_feedback = true;
    });
    assert!(text(&top_k[0]).contains("upload policy up leaves out other values at each client"), "{top_k:?}");
    let norm = found(|config| (config.aggregate.secure, config.server.max_update_norm) = (true, 5.0), sound);
    assert!(matches!(&norm[..], [Finding::Refuse(text)] if text.contains("server.max_update_norm is 5")), "{norm:?}");
}
