//! The wasm side: the exported interfaces of `wit/policy.wit`, each in a world of its own, served by the policy's traits.
//!
//! Each `export_…!` puts its worlds into the component; `wit-component` merges them and drops imports that nothing calls.

mod serving;
#[expect(missing_docs, reason = "wit-bindgen adds functions without documentation")]
pub mod worlds;

/// Exports `describing` and `compressing`: `export_compressor!(Component)`.
#[macro_export]
macro_rules! export_compressor {
    ($component:ident) => {
        $crate::exports::describing::export_describing!($component with_types_in $crate::exports::describing);
        $crate::exports::compressing::export_compressing!($component with_types_in $crate::exports::compressing);
    };
}

/// Exports `describing` and `aggregating`: `export_aggregator!(Component)`.
#[macro_export]
macro_rules! export_aggregator {
    ($component:ident) => {
        $crate::exports::describing::export_describing!($component with_types_in $crate::exports::describing);
        $crate::exports::aggregating::export_aggregating!($component with_types_in $crate::exports::aggregating);
    };
}

/// Exports `describing`, `compressing` and `aggregating`, of a policy that is both: `export_policy!(Component)`.
#[macro_export]
macro_rules! export_policy {
    ($component:ident) => {
        $crate::export_compressor!($component);
        $crate::exports::aggregating::export_aggregating!($component with_types_in $crate::exports::aggregating);
    };
}

/// Exports `planning`, beside a compressor.
#[macro_export]
macro_rules! export_planning {
    ($component:ident) => {
        $crate::exports::planning::export_plans!($component with_types_in $crate::exports::planning);
    };
}

/// Exports `acknowledging`, beside a compressor.
#[macro_export]
macro_rules! export_acknowledging {
    ($component:ident) => {
        $crate::exports::acknowledging::export_acknowledges!($component with_types_in $crate::exports::acknowledging);
    };
}

/// Exports `catching-up`, beside a compressor.
#[macro_export]
macro_rules! export_catching_up {
    ($component:ident) => {
        $crate::exports::catching_up::export_catches_up!($component with_types_in $crate::exports::catching_up);
    };
}

/// Exports `stepping`, beside an aggregator.
#[macro_export]
macro_rules! export_stepping {
    ($component:ident) => {
        $crate::exports::stepping::export_steps!($component with_types_in $crate::exports::stepping);
    };
}
