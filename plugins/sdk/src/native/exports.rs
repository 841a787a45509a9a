//! The export macros, natively: nothing is exported, but that the policy has the hooks is checked as on wasm.

use std::marker::PhantomData;

use crate::{Acknowledging, Aggregator, CatchingUp, Compressor, Exported, Planning, Stepping};

/// Compiles for what [`crate::export_compressor`] takes.
pub const fn compressor<P: Compressor>(_: PhantomData<Exported<P>>) {}

/// Compiles for what [`crate::export_planning`] takes.
pub const fn planning<P: Planning>(_: PhantomData<Exported<P>>) {}

/// Compiles for what [`crate::export_acknowledging`] takes.
pub const fn acknowledging<P: Acknowledging>(_: PhantomData<Exported<P>>) {}

/// Compiles for what [`crate::export_catching_up`] takes.
pub const fn catching_up<P: CatchingUp>(_: PhantomData<Exported<P>>) {}

/// Compiles for what [`crate::export_aggregator`] takes.
pub const fn aggregator<P: Aggregator>(_: PhantomData<Exported<P>>) {}

/// Compiles for what [`crate::export_stepping`] takes.
pub const fn stepping<P: Stepping>(_: PhantomData<Exported<P>>) {}

/// Exports `describing` and `compressing`: `export_compressor!(Component)`.
#[macro_export]
macro_rules! export_compressor {
    ($component:ident) => {
        const _: () = $crate::exports::compressor(::core::marker::PhantomData::<$component>);
    };
}

/// Exports `describing`, `compressing` and `aggregating`, of a policy that is both: `export_policy!(Component)`.
#[macro_export]
macro_rules! export_policy {
    ($component:ident) => {
        $crate::export_compressor!($component);
        $crate::export_aggregator!($component);
    };
}

/// Exports `planning`, beside a compressor.
#[macro_export]
macro_rules! export_planning {
    ($component:ident) => {
        const _: () = $crate::exports::planning(::core::marker::PhantomData::<$component>);
    };
}

/// Exports `acknowledging`, beside a compressor.
#[macro_export]
macro_rules! export_acknowledging {
    ($component:ident) => {
        const _: () = $crate::exports::acknowledging(::core::marker::PhantomData::<$component>);
    };
}

/// Exports `catching-up`, beside a compressor.
#[macro_export]
macro_rules! export_catching_up {
    ($component:ident) => {
        const _: () = $crate::exports::catching_up(::core::marker::PhantomData::<$component>);
    };
}

/// Exports `describing` and `aggregating`: `export_aggregator!(Component)`.
#[macro_export]
macro_rules! export_aggregator {
    ($component:ident) => {
        const _: () = $crate::exports::aggregator(::core::marker::PhantomData::<$component>);
    };
}

/// Exports `stepping`, beside an aggregator.
#[macro_export]
macro_rules! export_stepping {
    ($component:ident) => {
        const _: () = $crate::exports::stepping(::core::marker::PhantomData::<$component>);
    };
}
